"""The only importer of faster-whisper: sound to segments."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ctranslate2
import faster_whisper
import numpy as np

from engine_room.cores import Cores
from engine_room.encoding import Samples, decode
from engine_room.errors import UnsupportedValue
from engine_room.jobs import Done, Event, Job
from engine_room.metrics import Metrics
from engine_room.transcription_format import Heard, Segment, Word
from engine_room.transcription_turn import TranscriptionTurn

RATE_HZ = 16_000
FRAMES_PER_S = 100
WINDOW_S = 120
PART = "transcription"
MAX_TWICE_BYTES = 1_000_000_000
# What OpenAI does at temperature 0: try again, warmer, while the text is repetitive or unlikely.
WARMER = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


class WhisperModel:
    """A faster-whisper model on the CPU, in 8-bit integers. Belongs to one thread.

    CTranslate2 fixes the number of threads when it loads. So beside the network with all of them a second
    one is loaded, with half, at the first 30 s of sound for which the budget of cores does not give all.
    Not when the file is over MAX_TWICE_BYTES (the memory), nor when `num_threads` fixes the number.
    """

    def __init__(
        self,
        folder: Path,
        num_threads: int = 0,
        cores: Cores | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._cores = cores or Cores()
        self._metrics = metrics or Metrics()
        self._all_threads = num_threads or self._cores.total
        is_small = (folder / "model.bin").stat().st_size <= MAX_TWICE_BYTES
        is_fixed = num_threads > 0 or not is_small
        self._few_threads = self._all_threads if is_fixed else max(1, self._all_threads // 2)
        self._model = _Whisper(folder, self._all_threads, self._num_threads)

    @property
    def num_threads(self) -> int:
        """How many threads the last 30 s were decoded with."""
        return int(self._model.num_threads)

    def _num_threads(self) -> int:
        share = self._cores.share(PART)
        return self._all_threads if share >= self._all_threads else self._few_threads

    def answer(self, job: Job[TranscriptionTurn]) -> Iterator[Event]:
        """A Segment for each stretch of speech as soon as it is decoded, then Done with what was Heard.

        Silence gives none: a voice-activity filter runs first, and no text of an earlier window leads
        the model on. A long file goes window by window, so that a hang-up is noticed within seconds and
        memory does not grow. Raises InvalidAudio, and UnsupportedValue for a language the model does
        not know.
        """
        with self._cores.working(PART, self._all_threads):
            yield from self._segments(job)

    def _segments(self, job: Job[TranscriptionTurn]) -> Iterator[Event]:
        turn = job.turn
        language = self._language(turn.language)
        sound = decode(turn.data, RATE_HZ, lambda: job.cancelled)
        if job.cancelled:
            return
        num_segments = 0
        for begin, end in windows(sound.samples, RATE_HZ):
            segments, info = self._model.transcribe(
                sound.samples[begin:end],
                language=language,
                initial_prompt=turn.prompt or None,
                temperature=turn.temperature or WARMER,
                word_timestamps=turn.words,
                vad_filter=True,
                condition_on_previous_text=False,
            )
            for segment in segments:
                if job.cancelled:
                    return
                yield _segment(segment, num_segments, begin)
                num_segments += 1
                language = info.language  # heard once, it holds for the whole file
            if job.cancelled:
                return
            self._metrics.heard((end - begin) / RATE_HZ)
        yield Done(Heard(language or info.language, sound.duration_s))

    def _language(self, name: str) -> str | None:
        """The model's code for `en`, `en-US`, `EN_us`; None to detect it."""
        if name.lower() in ("", "auto"):
            return None
        code = re.split(r"[-_]", name.lower())[0]
        if code not in self._model.supported_languages:
            raise UnsupportedValue("language", name, sorted(self._model.supported_languages))
        return code


class _Whisper(faster_whisper.WhisperModel):  # type: ignore[misc]
    """faster-whisper with a network for each number of threads asked for, loaded at the first need."""

    model: Any

    def __init__(self, folder: Path, num_threads: int, wanted_threads: Callable[[], int]) -> None:
        super().__init__(str(folder), device="cpu", compute_type="int8", cpu_threads=num_threads)
        self._folder = folder
        self._wanted_threads = wanted_threads
        self._networks = {num_threads: self.model}
        self.num_threads = num_threads

    def encode(self, features: Any) -> Any:
        """What the library calls first for each 30 s; what follows uses the network set here."""
        self.num_threads = wanted = self._wanted_threads()
        if wanted not in self._networks:
            self._networks[wanted] = ctranslate2.models.Whisper(
                str(self._folder), device="cpu", compute_type="int8", intra_threads=wanted
            )
        self.model = self._networks[wanted]
        return super().encode(features)


def windows(samples: Samples, rate_hz: int) -> Iterator[tuple[int, int]]:
    """Begin and end of each stretch of a sound that is transcribed in one go: WINDOW_S long at most, cut
    at the quietest moment of its last third. One at least."""
    begin, size = 0, WINDOW_S * rate_hz
    moment = rate_hz // 10
    while len(samples) - begin > size:
        tail = samples[begin + size * 2 // 3 : begin + size]
        moments = tail[: len(tail) // moment * moment].reshape(-1, moment)
        quietest = int(np.argmin(np.square(moments).sum(axis=1)))
        end = begin + size * 2 // 3 + quietest * moment + moment // 2
        yield begin, end
        begin = end
    yield begin, len(samples)


def _segment(segment: Any, number: int, begin: int) -> Segment:
    """faster-whisper's segment as ours, its times counted from the beginning of the file."""
    offset_s = begin / RATE_HZ
    words = [
        Word(word.word.strip(), offset_s + word.start, offset_s + word.end)
        for word in segment.words or ()
    ]
    return Segment(
        id=number,
        seek=segment.seek + begin * FRAMES_PER_S // RATE_HZ,
        start=offset_s + segment.start,
        end=offset_s + segment.end,
        text=segment.text,
        tokens=segment.tokens,
        temperature=segment.temperature or 0.0,
        avg_logprob=segment.avg_logprob,
        compression_ratio=segment.compression_ratio,
        no_speech_prob=segment.no_speech_prob,
        words=words,
    )
