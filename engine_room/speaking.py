"""Which engine speaks a request, and in which voice: never another than the one asked for."""

from engine_room.catalogue import SPEECH_NAMES
from engine_room.encoding import FORMATS
from engine_room.errors import InvalidRequest, ModelNotFound, NothingToSay, UnsupportedValue
from engine_room.schemas import SpeechRequest
from engine_room.settings import Settings
from engine_room.speech import SpeechTurn
from engine_room.speech_markdown import readable
from engine_room.standard_voices import StandardVoice
from engine_room.voices import Voices
from engine_room.xtts.folder import NAME, XttsFolder, default_folder, xtts_folders
from engine_room.xtts.readiness import check_ready, standard_folder
from engine_room.xtts.sampling import SamplingChanges
from engine_room.xtts.studio import StudioVoice, studio_speaker
from engine_room.xtts.turn import XttsTurn


def speech_turn(body: SpeechRequest, voices: Voices, settings: Settings) -> SpeechTurn | XttsTurn:
    """The turn for a request. Raises ModelNotFound, VoiceNotFound, InvalidRequest, Unavailable."""
    folder = _folder(body.model, settings)
    if body.response_format not in FORMATS:
        raise UnsupportedValue("response_format", body.response_format, FORMATS)
    max_chars = settings.speech_max_chars
    if len(body.input) > max_chars:
        raise InvalidRequest(
            f"input has {len(body.input):,} characters; at most {max_chars:,} are spoken at once "
            "(setting SPEECH_MAX_CHARS).",
            param="input",
        )
    text = readable(body.input)
    if not text:
        raise NothingToSay
    name = body.voice if isinstance(body.voice, str) else body.voice.id
    voice = voices.get(name)
    voice_id = voice.id
    wanted = (body.speed, body.response_format, body.stream)
    if isinstance(voice, StandardVoice):
        if folder is None:
            return SpeechTurn(text, body.language, voice, *wanted)
        voice = StudioVoice(studio_speaker(voice.id, settings.voice_clones_dir))
    folder = folder or default_folder(settings.models_dir)
    check_ready(settings, folder, voice_id)
    sampling = SamplingChanges(body.temperature, body.top_k, body.top_p, body.repetition_penalty)
    return XttsTurn(folder, text, body.language, voice, *wanted, body.seed, sampling)


def _folder(model: str, settings: Settings) -> XttsFolder | None:
    """The XTTS model that a request names; None for the light voice's. Raises ModelNotFound."""
    name = model.lower()
    if not name or name in SPEECH_NAMES:
        return standard_folder(name, settings)
    folders = xtts_folders(settings.models_dir)
    for folder in folders:
        if folder.id.lower() == name:
            return folder
    if name == NAME:
        return default_folder(settings.models_dir)
    raise ModelNotFound(model, [*SPEECH_NAMES, *(folder.id for folder in folders)])
