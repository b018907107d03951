"""What a speech request asks for: who speaks which part of its text, by which engine, into which file.

Never another voice, model or format than the one asked for.
"""

from collections.abc import Sequence

from engine_room.catalogue import SPEECH_NAMES
from engine_room.encoding import FORMATS
from engine_room.errors import (
    InvalidRequest,
    ModelNotFound,
    NothingToSay,
    UnsupportedValue,
    WrongModel,
)
from engine_room.fetched_voices import FetchedVoice
from engine_room.instructions import manner
from engine_room.lexicon import Lexicon
from engine_room.recordings import Recordings
from engine_room.schemas import SpeechRequest
from engine_room.settings import Settings
from engine_room.speech import SpeechTurn
from engine_room.speech_key import speech_key
from engine_room.speech_output import Output, checked_output
from engine_room.speech_script import Line, script
from engine_room.standard_voices import LOUDNESS_LUFS, StandardVoice
from engine_room.synthesis import RATE_HZ, Part, SynthesisTurn
from engine_room.voices import AnyVoice, Voices
from engine_room.xtts.folder import NAME, XttsFolder, default_folder, xtts_folders
from engine_room.xtts.readiness import check_ready, standard_folder
from engine_room.xtts.sampling import SamplingChanges
from engine_room.xtts.studio import StudioVoice, studio_speaker
from engine_room.xtts.turn import XttsTurn

CHANGE_S = 0.25  # of silence between one voice and the next, where the text asks for no pause
MIN_SPEED, MAX_SPEED = 0.25, 4.0
STREAM_FORMATS = ("audio", "sse")


class Planner:
    """Turns requests into what the synthesizer is asked. Any thread may call it; it reads the disk."""

    def __init__(self, settings: Settings, voices: Voices, recordings: Recordings) -> None:
        self._settings, self._voices, self._recordings = settings, voices, recordings
        self._lexicon = Lexicon(settings.voice_clones_dir / "lexicon.tsv")

    def turn(self, body: SpeechRequest, is_read_as_stream: bool = False) -> SynthesisTurn:
        """The turn for a request. Raises ModelNotFound, VoiceNotFound, InvalidRequest, Unavailable."""
        output = self._output(body)
        stream = body.stream or is_sse(body) or is_read_as_stream
        parts = self._parts(body, stream)
        key = speech_key(parts, output, self._settings)
        first = next(part.turn for part in parts if part.turn)
        # What counts or times what is said has to hear it being said.
        is_reusable = body.cache and not (is_sse(body) or body.timestamps)
        is_looked_for = key and is_reusable and self._settings.speech_cache
        return SynthesisTurn(
            parts=parts,
            output=output,
            stream=stream,
            target_lufs=self._settings.speech_lufs,
            voice_id=first.voice.id,
            text=first.text,
            key=key,
            with_captions=body.timestamps,
            kept=self._recordings.found(key, output.format_name) if is_looked_for else None,
        )

    def _output(self, body: SpeechRequest) -> Output:
        """The file that is asked for, by the settings where the request says nothing."""
        if body.stream_format not in STREAM_FORMATS:
            raise UnsupportedValue("stream_format", body.stream_format, STREAM_FORMATS)
        if body.response_format not in FORMATS:
            raise UnsupportedValue("response_format", body.response_format, FORMATS)
        form, settings = FORMATS[body.response_format], self._settings
        rate_hz, bit_rate = body.sample_rate, body.bitrate
        if rate_hz is None:
            is_known = not form.rates_hz or settings.speech_sample_rate in form.rates_hz
            rate_hz = settings.speech_sample_rate if is_known else RATE_HZ
        if bit_rate is None and form.bit_rates:
            bit_rate = settings.speech_bitrate or None
        return checked_output(body.response_format, rate_hz, bit_rate)

    def _parts(self, body: SpeechRequest, stream: bool) -> tuple[Part, ...]:
        """The lines of the text with who speaks them."""
        max_chars = self._settings.speech_max_chars
        if len(body.input) > max_chars:
            raise InvalidRequest(
                f"input has {len(body.input):,} characters; at most {max_chars:,} are spoken at once "
                "(setting SPEECH_MAX_CHARS).",
                param="input",
            )
        name = body.voice if isinstance(body.voice, str) else body.voice.id
        lines = script(body.input, body.language or "en")
        if not any(line.text for line in lines):
            self._voices.get(name)
            raise NothingToSay
        cast = _Cast(self._settings, self._voices, self._lexicon, body, stream)
        names = [line.voice or name for line in lines]
        turns = [cast.turn(line, each) for line, each in zip(lines, names, strict=True)]
        return tuple(
            Part(turn, line.pause_s or _natural_pause_s(each, names[number + 1 :]), _own_lufs(turn))
            for number, (line, each, turn) in enumerate(zip(lines, names, turns, strict=True))
        )


class _Cast:
    """Who speaks the lines of one request."""

    def __init__(
        self,
        settings: Settings,
        voices: Voices,
        lexicon: Lexicon,
        body: SpeechRequest,
        stream: bool,
    ) -> None:
        self._settings, self._voices, self._lexicon = settings, voices, lexicon
        self._body, self._stream = body, stream
        self._folder = _folder(body.model, settings)
        self._manner = manner(body.instructions)
        self._known: dict[str, AnyVoice] = {}

    def turn(self, line: Line, name: str) -> SpeechTurn | XttsTurn | None:
        """What the line's engine is asked; None for a line that is only a pause. Raises VoiceNotFound,
        Unavailable, InvalidRequest."""
        if not line.text:
            return None
        body, how = self._body, self._manner
        speed = self._speed(line)
        voice, folder = self._voice(name), self._folder
        if isinstance(voice, FetchedVoice) and body.model.lower() not in ("", *SPEECH_NAMES):
            raise WrongModel(body.model, f"does not speak in the voice {voice.id}", "tts-1 does.")
        if isinstance(voice, StandardVoice):
            if folder is None or isinstance(voice, FetchedVoice):
                text = self._lexicon.spoken(line.text, "en")
                by_sentence = body.timestamps
                return SpeechTurn(
                    text, body.language, voice, speed, how.pitch_ratio, how.pause_ratio, by_sentence
                )
            name = studio_speaker(voice.id, self._settings.voice_clones_dir)
            asked, voice = voice.id, StudioVoice(name)
        else:
            asked = voice.id
        folder = folder or default_folder(self._settings.models_dir)
        check_ready(self._settings, folder, asked)
        language = body.language or getattr(voice, "language", "")
        return XttsTurn(
            folder=folder,
            text=self._lexicon.spoken(line.text, language),
            language=body.language,
            voice=voice,
            speed=speed,
            stream=self._stream,
            seed=body.seed,
            sampling=SamplingChanges(
                body.temperature, body.top_k, body.top_p, body.repetition_penalty
            ),
            pause_ratio=how.pause_ratio,
        )

    def _speed(self, line: Line) -> float:
        """The request's speed as the line has it; instructions go no further than there are speeds."""
        asked = self._body.speed * line.pace_ratio
        if not MIN_SPEED <= asked <= MAX_SPEED:
            raise InvalidRequest(
                f"speed {self._body.speed:g} times the text's own rate {line.pace_ratio:g} is {asked:g}; "
                f"there are speeds of {MIN_SPEED:g} to {MAX_SPEED:g}.",
                param="speed",
            )
        return min(max(asked * self._manner.pace_ratio, MIN_SPEED), MAX_SPEED)

    def _voice(self, name: str) -> AnyVoice:
        if name not in self._known:
            self._known[name] = self._voices.get(name, self._folder)
        return self._known[name]


def _natural_pause_s(name: str, later: Sequence[str]) -> float:
    """Of silence after a line in one voice, by the voices of those after it."""
    return CHANGE_S if later and later[0] != name else 0.0


def _own_lufs(turn: SpeechTurn | XttsTurn | None) -> float | None:
    is_known = isinstance(turn, SpeechTurn) and not isinstance(turn.voice, FetchedVoice)
    return LOUDNESS_LUFS if is_known else None


def is_sse(body: SpeechRequest) -> bool:
    """Whether a request wants server-sent events: it says so, or wants captions while it is spoken."""
    return body.stream_format == "sse" or (body.stream and body.timestamps)


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
