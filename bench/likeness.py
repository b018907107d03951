"""Whose voice speech is in, and how well it is understood: the measures of cloned voices.

The speaker encoder is XTTS's own, what hears is the bundled Whisper base. Tests and benches measure alike.
"""

import re
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
from numpy.typing import NDArray

from engine_room.encoding import Sound, encode
from engine_room.jobs import Job
from engine_room.settings import Settings
from engine_room.speech_light import LightVoice
from engine_room.standard_voices import STANDARD_VOICES
from engine_room.transcription_format import Segment, text_of
from engine_room.transcription_turn import TranscriptionTurn
from engine_room.transcription_whisper import WhisperModel
from engine_room.whisper_models import WhisperModels
from engine_room.xtts.gpt import Conditioning

# Two bundled voices far from each other, to be cloned, and what they read for it: about ten seconds.
VOICES = ("nova", "onyx")
CLIP_TEXT = (
    "My grandfather kept a small shop near the railway station, where people bought paper, ink and string. "
    "Every evening he swept the floor, closed the wooden shutters, and walked slowly home along the river."
)
MIN_HEARD_S = 0.34  # the library wants 0.33 s
# What the clones say: plain words that are written in one way only.
TEXTS = (
    "The old man opened the window and looked at the snow on the mountains.",
    "We took the last train home, and nobody said a word until the morning.",
    "Please bring some bread and milk when you come back from the market.",
)


def word_error_rate(said: str, heard: str) -> float:
    """Words that are wrong, missing or too many, for each that was said; case and signs do not count."""
    return float(jiwer.wer(_plain(said), _plain(heard)))


def _plain(text: str) -> str:
    return " ".join(re.findall(r"[^\W_]+", text.lower().replace("'", "")))


def cosine(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Of the angle between two vectors: 1 where they point the same way, 0 at a right angle."""
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))


def likeness(coqui: Any, sound: Sound, voice: Conditioning) -> float:
    """The cosine of a sound's speaker and a voice's, as the model of this CoquiXtts hears them; 0 where there
    is too little to hear anybody, which the library refuses."""
    if sound.duration_s < MIN_HEARD_S:
        return 0.0
    return cosine(coqui.conditioning([sound]).speaker, voice.speaker)


def write_clips(folder: Path) -> dict[str, Path]:
    """A clip of each of VOICES, as a file."""
    light, paths = LightVoice(), {}
    for name in VOICES:
        samples = light.speak(CLIP_TEXT, STANDARD_VOICES[name].character, seed=1)
        paths[name] = folder / f"{name}.wav"
        paths[name].write_bytes(encode(Sound(samples, light.sample_rate_hz), "wav"))
    return paths


class Listener:
    """Whisper base, which writes down English."""

    def __init__(self) -> None:
        models = WhisperModels(Settings().models_dir)
        self._model = WhisperModel(models.ready(models.bundled))

    def heard(self, sound: Sound) -> str:
        """The words."""
        job = Job(TranscriptionTurn(encode(sound, "wav"), self._model.folder, "en"), print)
        return text_of([each for each in self._model.answer(job) if isinstance(each, Segment)])
