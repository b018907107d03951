"""The voices: the standard ones, and the clips in `voice_clones/`.

The folder is looked at anew each time, so a clip dropped in is a voice without a restart. Reads no
audio and speaks nothing.
"""

import importlib.util
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engine_room.errors import Unavailable, VoiceNotFound
from engine_room.folders import files_in, modified_at
from engine_room.jobs import Status
from engine_room.schemas import Voice
from engine_room.settings import Settings
from engine_room.standard_voices import STANDARD_VOICES, StandardVoice

VoiceType = Literal["standard", "cloned"]
CLIP_SUFFIXES = {".wav", ".mp3", ".flac", ".m4a", ".ogg"}


@dataclass(frozen=True, slots=True)
class ClonedVoice:
    """A clip in `voice_clones/`, and the id it has as a voice."""

    id: str
    path: Path


class Voices:
    """The voices of one server. Thread-safe: it remembers nothing."""

    def __init__(self, settings: Settings) -> None:
        self._clones_dir = settings.voice_clones_dir
        self._models_dir = settings.models_dir

    def cloned(self) -> list[ClonedVoice]:
        """The clips, each under its file's name: without the suffix where that is unmistakable, else
        with it, so that a new file never takes another one's id."""
        clips = files_in(self._clones_dir, CLIP_SUFFIXES)
        stems = Counter(path.stem.lower() for path in clips)
        taken = {stem for stem, count in stems.items() if count > 1} | set(STANDARD_VOICES)
        taken |= {path.name.lower() for path in clips}  # bob.wav.ogg is not to be "bob.wav"
        return [
            ClonedVoice(path.name if path.stem.lower() in taken else path.stem, path)
            for path in clips
        ]

    def get(self, name: str) -> StandardVoice | ClonedVoice:
        """The voice of this id, or clip of this file name. Raises VoiceNotFound."""
        if standard := STANDARD_VOICES.get(name.strip().lower()):
            return standard
        cloned = self.cloned()
        for voice in cloned:
            if name in (voice.id, voice.path.name):
                return voice
        raise VoiceNotFound(name, [*STANDARD_VOICES, *(voice.id for voice in cloned)])

    def listed(self) -> list[Voice]:
        """All voices as the API shows them, the cloned ones first, as the guide has it."""
        voices: list[StandardVoice | ClonedVoice] = [*self.cloned(), *STANDARD_VOICES.values()]
        return [shown(voice) for voice in voices]

    def cloning_status(self) -> Status:
        """Whether cloned voices can speak, and if not, why and what mends it."""
        if not importlib.util.find_spec("TTS"):
            return Status(
                "unavailable",
                "The voice-cloning part (coqui-tts) is not installed.",
                f"Run: {sys.executable} -m pip install -r requirements.txt",
            )
        folder = self._models_dir / "xtts_v2"
        there = (
            ""
            if (folder / "model.pth").is_file()
            else f"There is no XTTS-v2 model in {folder}, and "
        )
        return Status(
            "unavailable",
            f"{there}this version lists cloned voices but does not speak with them yet.",
            "Use a standard voice. For the version that does: put config.json, model.pth and vocab.json "
            f"of coqui/XTTS-v2 (Hugging Face; non-commercial CPML licence) into {folder}.",
        )

    def check_speaks(self, voice: StandardVoice | ClonedVoice) -> StandardVoice:
        """The voice, if there is an engine for it; never another in its place. Raises Unavailable."""
        if isinstance(voice, StandardVoice):
            return voice
        status = self.cloning_status()
        raise Unavailable(
            f"The cloned voice {voice.id!r} cannot speak: {status.reason}", status.mend
        )


def shown(voice: StandardVoice | ClonedVoice) -> Voice:
    """A voice as the API shows it."""
    if isinstance(voice, ClonedVoice):
        return _shown(voice.id, voice.path.name, "cloned", "Cloned voice", voice.path)
    name = voice.id.capitalize()
    return _shown(voice.id, name, "standard", voice.description, Path(__file__))


def _shown(id_: str, name: str, type_: VoiceType, description: str, path: Path) -> Voice:
    created_at = modified_at(path)
    return Voice(
        id=id_,
        name=name,
        created_at=created_at,
        type=type_,
        description=description,
        value=id_,
        label=name,
    )
