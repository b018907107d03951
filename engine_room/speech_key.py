"""By what a finished speech file is found again: a hash of all that makes it sound as it does."""

import hashlib
from functools import cache, lru_cache
from importlib.metadata import version
from pathlib import Path

from engine_room.clones import ClonedVoice
from engine_room.settings import Settings
from engine_room.speech import SpeechTurn
from engine_room.speech_output import Output
from engine_room.synthesis import Part
from engine_room.xtts.conditioning import clips_key
from engine_room.xtts.folder import CONFIG, SPEAKERS, VOCABULARY
from engine_room.xtts.studio import StudioVoice
from engine_room.xtts.turn import XttsTurn

RECIPE = "2"  # raise it when the same request is to give other sound


def speech_key(parts: tuple[Part, ...], output: Output, settings: Settings) -> str:
    """The key, hexadecimal; empty when a clip cannot be read, which is its engine's to say. Reads the clips,
    once for as long as they stay as they are."""
    own = (settings.speech_lufs, settings.xtts_gpt_type, settings.xtts_language)
    try:
        said = [(_of_turn(part.turn), part.pause_s) for part in parts]
    except OSError:
        return ""
    return hashlib.sha256(repr((RECIPE, output, own, said)).encode()).hexdigest()


def _of_turn(turn: SpeechTurn | XttsTurn | None) -> object:
    if isinstance(turn, XttsTurn):
        voice: object = turn.voice
        if isinstance(voice, ClonedVoice):
            voice = (_clips_key(_seen(*voice.paths)), voice.language)
        folder = turn.folder.path
        model = _seen(turn.folder.checkpoint, folder / CONFIG, folder / VOCABULARY)
        if isinstance(voice, StudioVoice):
            model += _seen(*filter(Path.is_file, [folder / SPEAKERS]))
        own = (turn.text, turn.language, turn.speed, turn.seed, turn.sampling, turn.pause_ratio)
        return (voice, model, own)
    return (_light_version(), turn)


@cache
def _light_version() -> str:
    return version("hibari-tts")


# A file as it is now: path, size, time of change in ns.
Seen = tuple[tuple[str, int, int], ...]


def _seen(*paths: Path) -> Seen:
    return tuple((str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in paths)


@lru_cache(maxsize=256)
def _clips_key(seen: Seen) -> str:
    return clips_key([Path(path) for path, _, _ in seen])
