"""The voices: the standard ones, and the cloned ones in `voice_clones/`, and how the API shows them.

Speaks nothing; audio is read only to tell what one voice's clips are worth, or to play them.
"""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import numpy as np

from engine_room import clips, schemas, schemas_voices
from engine_room.clone_store import CloneStore, NewVoice
from engine_room.clones import ClonedVoice as ClonedVoice
from engine_room.clones import Clones
from engine_room.encoding import Sound, encode
from engine_room.errors import (
    Forbidden,
    InvalidAudio,
    NotFound,
    VoiceExists,
    VoiceNotFound,
)
from engine_room.fetched_voices import FetchedVoice, fetched_id, fetched_voices
from engine_room.folders import modified_at
from engine_room.jobs import Status
from engine_room.offers import Offers
from engine_room.packages import FETCH
from engine_room.schemas import Voice
from engine_room.settings import Settings
from engine_room.standard_voices import STANDARD_VOICES, StandardVoice
from engine_room.voice_names import checked_name, composed
from engine_room.xtts.conditioning import CONDITIONING, kept_of
from engine_room.xtts.folder import XttsFolder, default_folder
from engine_room.xtts.languages import LANGUAGES
from engine_room.xtts.readiness import cloning_status
from engine_room.xtts.studio import StudioVoice, speaker_names

VoiceType = Literal["standard", "cloned", "studio"]
AnyVoice = StandardVoice | ClonedVoice | StudioVoice
# Enough to hear whose voice it is.
MAX_PREVIEW_S = 30


class Voices:
    """The voices of one server. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._clones = Clones(settings.voice_clones_dir)
        self._store = CloneStore(settings.voice_clones_dir)
        self._settings = settings
        self._offers = Offers(settings.models_dir)
        self._last_json: tuple[object, tuple[AnyVoice, ...], bytes] | None = None

    def open(self) -> None:
        """Tidy up after a crash, and look at the folder once, on a thread: the first look at ten thousand
        voices takes a second, later ones a tenth."""
        self._store.tidy()
        threading.Thread(target=self.listed_json, name="voices", daemon=True).start()

    def cloned(self) -> list[ClonedVoice]:
        """The cloned voices, by name."""
        return list(self._clones.all())

    def studio(self, folder: XttsFolder | None = None) -> tuple[StudioVoice, ...]:
        """The speakers that came with an XTTS model, None: the default one; none without one."""
        folder = folder or default_folder(self._settings.models_dir)
        return tuple(StudioVoice(name) for name in speaker_names(folder))

    def get(self, name: str, folder: XttsFolder | None = None) -> AnyVoice:
        """The voice of this id, or of this file's or folder's name; case and accents matter only where
        two voices differ in nothing else. Studio speakers are those of the XTTS model in the folder, None:
        the default one. Raises VoiceNotFound."""
        if standard := STANDARD_VOICES.get(name.strip().lower()):
            return standard
        found = self._clones.find(name)
        speakers = self.studio(folder)
        studio = [voice for voice in speakers if voice.id.lower() == name.strip().lower()]
        is_exact = studio and name == studio[0].id not in [voice.id for voice in found]
        if studio and (is_exact or not found):
            return studio[0]
        if len(found) == 1:
            return found[0]
        fetched = fetched_voices(self._settings.models_dir)
        if not found and fetched_id(name) in fetched:
            return fetched[fetched_id(name)]
        there = found or self.cloned()
        ids = [voice.id for voice in there]
        others = [*STANDARD_VOICES, *fetched, *ids, *(voice.id for voice in speakers)]
        offer = self._offers.find(fetched_id(name))
        if offer and offer.kind == "voice" and not found:
            fetch_with = f"{FETCH} {offer.id}"
            raise VoiceNotFound(name, others, fetch_with=fetch_with, offer=offer.id)
        raise VoiceNotFound(name, ids if found else others)

    def listed(self) -> list[Voice]:
        """All voices as the API shows them, the cloned ones first, as the guide has it."""
        return _shown_all(self._clones.all(), self._others())

    def _others(self) -> tuple[AnyVoice, ...]:
        return (*fetched_voices(self._settings.models_dir).values(), *self.studio())

    def listed_json(self) -> bytes:
        """The body of the list, under both names that clients look for; written anew only when a voice
        changed, as ten thousand voices are two megabytes under each name."""
        cloned, others = self._clones.all(), self._others()
        last = self._last_json
        if last and last[0] is cloned and last[1] == others:
            return last[2]
        shown_all = _shown_all(cloned, others)
        items = b"[%s]" % b",".join(voice.model_dump_json().encode() for voice in shown_all)
        body = b'{"object":"list","data":%s,"voices":%s}' % (items, items)
        self._last_json = (cloned, others, body)
        return body

    def add(self, voice: NewVoice) -> ClonedVoice:
        """Check and keep a new voice; takes seconds. Raises InvalidRequest, InvalidAudio, VoiceExists,
        CannotStore."""
        name = checked_name(voice.name)
        if any(name in (other.id, composed(other.name)) for other in self._clones.find(name)):
            raise VoiceExists(name)
        self._store.keep(voice)
        kept = [other for other in self._clones.find(name) if other.id == name]
        if not kept:  # deleted by somebody at this very moment
            raise VoiceNotFound(name, [])
        return kept[0]

    def delete(self, name: str) -> str:
        """Delete a cloned voice's files, and what was computed of them; its id. A name that is only like
        its own is not enough: who deletes `bob` twice must not lose `Bob`. Raises VoiceNotFound, Forbidden,
        CannotStore."""
        voice = self.get(name)
        if not isinstance(voice, ClonedVoice):
            mend = (
                "delete it as a model" if isinstance(voice, FetchedVoice) else "cloned voices can"
            )
            raise Forbidden(
                f"The voice {voice.id!r} is a standard voice and cannot be deleted; {mend}.",
                param="voice_id",
            )
        if composed(name) not in (voice.id, composed(voice.name)):
            raise VoiceNotFound(name, [voice.id])
        paths = voice.paths[: clips.MAX_CLIPS]
        computed = kept_of(self._settings.voice_clones_dir / CONDITIONING, paths)
        self._store.delete(voice)
        for file in computed:
            file.unlink(missing_ok=True)
        return voice.id

    def details(self, name: str, speech: Status) -> schemas_voices.VoiceDetails:
        """A voice, what its clips are worth, and whether it can speak; reads the clips. `speech` is how the
        engine of the standard voices is. Raises VoiceNotFound."""
        voice = self.get(name)
        by_hibari = self._settings.speech_engine == "hibari" or isinstance(voice, FetchedVoice)
        if isinstance(voice, StandardVoice) and by_hibari:
            is_ready = speech.state == "ready"
            return _with_state(shown(voice), is_ready, speech, engine="hibari", languages=["en"])
        status = self.cloning_status()
        if not isinstance(voice, ClonedVoice):
            is_ready = status.state == "ready"
            languages = list(LANGUAGES)
            return _with_state(shown(voice), is_ready, status, engine="xtts", languages=languages)
        paths = voice.paths[: clips.MAX_CLIPS]
        checked = [_checked(path) for path in paths]
        heard = [findings for findings in checked if isinstance(findings, clips.Findings)]
        can_speak = len(heard) == len(checked) and clips.is_voice(heard)
        return _with_state(
            shown(voice),
            status.state == "ready" and can_speak,
            status,
            engine="xtts",
            languages=list(LANGUAGES),
            language=voice.language,
            duration_s=round(sum(clip.duration_s for clip in heard), 2),
            speech_s=round(sum(clip.speech_s for clip in heard), 2),
            findings=[_finding(found) for found in (*clips.of_voice(heard), *_too_many(voice))],
            clips=[_clip(path, one) for path, one in zip(paths, checked, strict=True)],
            preview_url=f"/v1/audio/voices/{quote(voice.id, safe='')}/preview",
        )

    def preview(self, name: str) -> bytes:
        """The beginning of a cloned voice's clips, as they are made ready for cloning, as a wav file.
        Raises VoiceNotFound, NotFound, InvalidAudio."""
        voice = self.get(name)
        if not isinstance(voice, ClonedVoice):
            raise NotFound(
                f"The voice {voice.id!r} is a standard voice and has no clip; have it say something with "
                "POST /v1/audio/speech."
            )
        samples = np.zeros(0, np.float32)
        for path in voice.paths:
            if len(samples) < MAX_PREVIEW_S * clips.CLIP_RATE_HZ:
                samples = np.concatenate([samples, clips.prepared(path).samples])
        sound = Sound(samples[: MAX_PREVIEW_S * clips.CLIP_RATE_HZ], clips.CLIP_RATE_HZ)
        return encode(sound, "wav")

    def cloning_status(self) -> Status:
        """Whether cloned voices can speak, and if not, why and what mends it."""
        return cloning_status(self._settings)


def _shown_all(cloned: Sequence[ClonedVoice], others: Sequence[AnyVoice]) -> list[Voice]:
    taken = {voice.id for voice in cloned}
    untaken = [voice for voice in others if voice.id not in taken]
    voices: list[AnyVoice] = [*cloned, *STANDARD_VOICES.values(), *untaken]
    return [shown(voice) for voice in voices]


def shown(voice: AnyVoice) -> Voice:
    """A voice as the API shows it in a list."""
    if isinstance(voice, StudioVoice):
        when = modified_at(Path(__file__))
        return _shown(voice.id, voice.id, "studio", "Studio speaker of XTTS", when)
    if isinstance(voice, ClonedVoice):
        description = voice.description or "Cloned voice"
        return _shown(voice.id, voice.name, "cloned", description, voice.created_at)
    name = voice.id.capitalize()
    return _shown(voice.id, name, "standard", voice.description, modified_at(Path(__file__)))


def _shown(id_: str, name: str, type_: VoiceType, description: str, created_at: int) -> Voice:
    return Voice(
        id=id_,
        name=name,
        created_at=created_at,
        type=type_,
        description=description,
        value=id_,
        label=name,
    )


def _with_state(
    voice: Voice, is_ready: bool, status: Status, **fields: Any
) -> schemas_voices.VoiceDetails:
    state = schemas.PartStatus(status=status.state, reason=status.reason, mend=status.mend)
    return schemas_voices.VoiceDetails(
        **voice.model_dump(), ready=is_ready, engine_status=state, **fields
    )


def _too_many(voice: ClonedVoice) -> list[clips.Finding]:
    if len(voice.paths) <= clips.MAX_CLIPS:
        return []
    message = f"It has {len(voice.paths):,} clips; the first {clips.MAX_CLIPS} make the voice."
    return [clips.Finding("many_clips", "advice", message)]


def _checked(path: Path) -> clips.Findings | InvalidAudio:
    try:
        return clips.checked_file(path)
    except InvalidAudio as error:
        return error


def _clip(path: Path, checked: clips.Findings | InvalidAudio) -> schemas_voices.VoiceClip:
    if isinstance(checked, InvalidAudio):
        found = [clips.Finding("unreadable", "problem", checked.message)]
        return schemas_voices.VoiceClip(name=path.name, findings=[_finding(each) for each in found])
    return schemas_voices.VoiceClip(
        name=path.name,
        duration_s=checked.duration_s,
        speech_s=checked.speech_s,
        findings=[_finding(each) for each in checked.found],
    )


def _finding(finding: clips.Finding) -> schemas_voices.VoiceFinding:
    return schemas_voices.VoiceFinding(
        code=finding.code, kind=finding.kind, message=finding.message
    )
