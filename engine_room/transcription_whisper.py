"""The only importer of faster-whisper: sound to segments."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faster_whisper

from engine_room.errors import UnsupportedValue
from engine_room.jobs import Done, Event, Job
from engine_room.transcription_format import Heard, Segment, Word
from engine_room.transcription_turn import TranscriptionTurn

# What OpenAI does at temperature 0: try again, warmer, while the text is repetitive or unlikely.
WARMER = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


class WhisperModel:
    """A faster-whisper model on the CPU, in 8-bit integers. Belongs to one thread."""

    def __init__(self, folder: Path, num_threads: int) -> None:
        self._model = faster_whisper.WhisperModel(
            str(folder), device="cpu", compute_type="int8", cpu_threads=num_threads
        )

    def answer(self, job: Job[TranscriptionTurn]) -> Iterator[Event]:
        """A Segment for each stretch of speech as soon as it is decoded, then Done with what was Heard.

        Silence gives none: a voice-activity filter runs first, and no text of an earlier window leads
        the model on. Raises UnsupportedValue for a language the model does not know.
        """
        turn = job.turn
        segments, info = self._model.transcribe(
            turn.sound.samples,
            language=self._language(turn.language),
            initial_prompt=turn.prompt or None,
            temperature=turn.temperature or WARMER,
            word_timestamps=turn.words,
            vad_filter=True,
            condition_on_previous_text=False,
        )
        for segment in segments:
            if job.cancelled:
                return
            yield _segment(segment)
        yield Done(Heard(info.language, info.duration))

    def _language(self, name: str) -> str | None:
        """The model's code for `en`, `en-US`, `EN_us`; None to detect it."""
        if name.lower() in ("", "auto"):
            return None
        code = re.split(r"[-_]", name.lower())[0]
        if code not in self._model.supported_languages:
            raise UnsupportedValue("language", name, sorted(self._model.supported_languages))
        return code


def _segment(segment: Any) -> Segment:
    words = [Word(word.word.strip(), word.start, word.end) for word in segment.words or ()]
    return Segment(
        id=segment.id - 1,  # faster-whisper counts from one, OpenAI from zero
        seek=segment.seek,
        start=segment.start,
        end=segment.end,
        text=segment.text,
        tokens=segment.tokens,
        temperature=segment.temperature or 0.0,
        avg_logprob=segment.avg_logprob,
        compression_ratio=segment.compression_ratio,
        no_speech_prob=segment.no_speech_prob,
        words=words,
    )
