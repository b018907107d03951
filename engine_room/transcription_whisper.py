"""Sound to segments, with faster-whisper: window by window, in the language that is told or found out."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
from faster_whisper.transcribe import restore_speech_timestamps
from faster_whisper.vad import VadOptions, collect_chunks, get_speech_timestamps
from numpy.typing import NDArray

from engine_room.cores import Cores
from engine_room.decoding import decoded
from engine_room.encoding import Samples, as_float
from engine_room.errors import InvalidRequest, Unavailable
from engine_room.jobs import Done, Event, Job
from engine_room.metrics import Metrics
from engine_room.transcription_format import Heard, Segment, Word
from engine_room.transcription_languages import language_code
from engine_room.transcription_network import Network, Track, in_turn
from engine_room.transcription_turn import SpeechFilter, TranscriptionTurn

log = logging.getLogger(__name__)
RATE_HZ = 16_000
# Windows decoded in one run. On two cores two together take 0.88 of the CPU time of one after the other (five
# minutes of speech, base, int8, three rounds: 0.83, 0.88, 0.91), and the text is the same; four take no less,
# and a hang-up waits for them longer. A graphics card has room for more: eight, as the library has it.
NUM_AT_ONCE = {"cpu": 2, "cuda": 8}
MIN_LOGPROB, MAX_SILENCE, MAX_REPETITION = -1.0, 0.3, 2.4
FRAMES_PER_S = 100
WINDOW_S = 120
PART = "transcription"
MAX_TWICE_BYTES = 1_000_000_000
# What OpenAI does at temperature 0: try again, warmer, while the text is repetitive or unlikely.
WARMER = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


class WhisperModel:
    """A faster-whisper model: on a CPU in 8-bit integers, on CUDA in 16-bit floats. Belongs to one thread.

    CTranslate2 fixes the number of threads when it loads. So beside the network with all of them a second
    one is loaded, with half, at the first 30 s of sound for which the budget of cores does not give all.
    Not when the file is over MAX_TWICE_BYTES (the memory), nor when `num_threads` fixes the number.
    Raises Unavailable when the folder is no model, or CUDA is asked for and not there.
    """

    def __init__(
        self,
        folder: Path,
        num_threads: int = 0,
        cores: Cores | None = None,
        metrics: Metrics | None = None,
        device: str = "cpu",
    ) -> None:
        self.folder = folder
        self._cores = cores or Cores()
        self._metrics = metrics or Metrics()
        self._all_threads = num_threads or self._cores.total
        self._num_at_once = NUM_AT_ONCE[device]
        on_cpu = device == "cpu"
        is_small = (folder / "model.bin").stat().st_size <= MAX_TWICE_BYTES
        is_fixed = num_threads > 0 or not is_small or not on_cpu
        self._few_threads = self._all_threads if is_fixed else max(1, self._all_threads // 2)
        try:
            self._model = Network(folder, self._all_threads, self._num_threads, device)
        except (RuntimeError, ValueError, OSError) as error:
            raise Unavailable(
                f"The transcription model {folder.name} cannot be loaded on {device}: {error}.",
                f"Put a whole faster-whisper folder into {folder.parent}, or set TRANSCRIPTION_DEVICE=cpu.",
            ) from error

    @property
    def num_threads(self) -> int:
        """How many threads the last 30 s were decoded with."""
        return int(self._model.num_threads)

    def _num_threads(self) -> int:
        share = self._cores.share(PART)
        return self._all_threads if share >= self._all_threads else self._few_threads

    def answer(self, job: Job[TranscriptionTurn]) -> Iterator[Event]:
        """A Segment for each stretch of speech as soon as it is decoded, then Done with what was Heard.

        Silence gives none: a voice-activity filter runs first, no text of an earlier window leads the
        model on, and what it invents all the same is left out. A file is decoded and heard window by
        window, so that a hang-up is noticed within seconds and memory does not grow. Raises InvalidAudio,
        and UnsupportedValue for a language the model does not know.
        """
        with self._cores.working(PART, self._all_threads):
            yield from self._segments(job)

    def _segments(self, job: Job[TranscriptionTurn]) -> Iterator[Event]:
        turn = job.turn
        options = self._options(turn)
        language = language_code(turn.language, self._languages)
        among = [language_code(name, self._languages) for name in turn.languages]
        blocks = decoded(turn.data, RATE_HZ, cancelled=lambda: job.cancelled)
        parts = windows(blocks, RATE_HZ)
        num_segments, end = 0, 0
        # One by one until the language is known, and as long as the library has to do it all by itself.
        is_plain = not (turn.words or turn.temperature)
        while group := list(islice(parts, self._num_at_once if language and is_plain else 1)):
            begun = [_Window(*part, turn.speech_filter) for part in group]
            for window in begun:
                self._begin(window, language, among, options)
            tracks = [window.track for window in begun if window.track]
            for window in begun:
                for segment in window.segments(tracks, lambda: job.cancelled):
                    if job.cancelled:
                        return
                    if is_invented(segment):
                        log.info("left out as invented: %r", segment.text[:80])
                        continue
                    yield _segment(segment, num_segments, window.begin)
                    num_segments += 1
                    language = window.language  # heard once, it holds for the whole file
                if job.cancelled:
                    return
                end = window.begin + window.num_samples
                self._metrics.heard(window.num_samples / RATE_HZ)
                if window.begin:
                    log.info("transcribed %d minutes of a long file", end // RATE_HZ // 60)
        yield Done(Heard(language or "", end / RATE_HZ))

    def _begin(
        self,
        window: "_Window",
        language: str | None,
        among: Sequence[str | None],
        options: dict[str, Any],
    ) -> None:
        """Make a track of what is said in a window; nothing of it is decoded yet."""
        if window.spans:
            language = language or self._detected(window.speech, [code for code in among if code])
            window.track, info = self._model.transcribe(window.speech, language=language, **options)
            window.language = info.language

    @property
    def _languages(self) -> list[str]:
        languages: list[str] = self._model.supported_languages
        return languages

    def _options(self, turn: TranscriptionTurn) -> dict[str, Any]:
        """What the library is told. Raises InvalidRequest for a translation that the model cannot do."""
        if turn.task == "translate" and not self._model.model.is_multilingual:
            raise InvalidRequest(
                f"{self.folder.name} knows English only and translates nothing; use a model without "
                '"en" in its name.',
                param="model",
            )
        return {
            "task": turn.task,
            "initial_prompt": turn.prompt or None,
            "hotwords": turn.hotwords or None,
            "temperature": turn.temperature or WARMER,
            "word_timestamps": turn.words,
            "condition_on_previous_text": False,
        }

    def _detected(self, speech: Samples, among: Sequence[str]) -> str | None:
        """The likeliest of some languages; None when there is no choice to be made here."""
        if len(among) < 2:
            return among[0] if among else None
        _, _, probabilities = self._model.detect_language(speech)
        likeliest: str = max((p for p in probabilities if p[0] in among), key=itemgetter(1))[0]
        return likeliest


class _Window:
    """A stretch of the sound: where it begins, in samples, where in it somebody speaks, and what is said."""

    def __init__(self, begin: int, samples: Samples, heard: SpeechFilter) -> None:
        self.begin, self.num_samples = begin, len(samples)
        self.spans = get_speech_timestamps(samples, vad_options(heard))
        self.speech: Samples = np.concatenate(collect_chunks(samples, self.spans)[0])
        self.track: Track | None = None
        self.language = ""

    def segments(self, tracks: Sequence[Track], cancelled: Callable[[], bool]) -> Iterator[Any]:
        """The library's segments of it, decoded together with the other tracks."""
        if self.track is None:
            return iter(())
        told = self.track if len(tracks) == 1 else in_turn(self.track, tracks, cancelled)
        segments: Iterator[Any] = restore_speech_timestamps(told, self.spans, RATE_HZ)
        return segments


def vad_options(heard: SpeechFilter) -> VadOptions:
    """What counts as speech, in the library's words."""
    return VadOptions(
        threshold=heard.threshold,
        speech_pad_ms=heard.padding_ms,
        min_silence_duration_ms=heard.silence_ms,
    )


def is_invented(segment: Any) -> bool:
    """True for text that the model itself hardly believes and that more speaks against: that nobody seems
    to speak, or that it repeats itself. The library drops only what has both a likelihood as low and
    "no speech" over 0.6."""
    is_doubted = segment.no_speech_prob > MAX_SILENCE or segment.compression_ratio > MAX_REPETITION
    return bool(segment.avg_logprob < MIN_LOGPROB and is_doubted)


def windows(blocks: Iterable[NDArray[np.int16]], rate_hz: int) -> Iterator[tuple[int, Samples]]:
    """A sound in stretches that are transcribed in one go, each with the number of its first sample:
    WINDOW_S long at most, cut at the quietest moment of its last third. One at least."""
    held: list[NDArray[np.int16]] = []
    begin, num_held, size = 0, 0, WINDOW_S * rate_hz
    for block in blocks:
        held.append(block)
        num_held += len(block)
        while num_held > size:
            samples = np.concatenate(held)
            num_cut = _quietest(samples[:size], rate_hz)
            yield begin, as_float(samples[:num_cut])
            begin, num_held = begin + num_cut, num_held - num_cut
            held = [samples[num_cut:]]
    yield begin, as_float(np.concatenate(held or [np.zeros(0, np.int16)]))


def _quietest(samples: NDArray[np.int16], rate_hz: int) -> int:
    """Where the last third is quietest, in samples."""
    moment, begin = rate_hz // 10, len(samples) * 2 // 3
    tail = samples[begin:].astype(np.float32)
    moments = tail[: len(tail) // moment * moment].reshape(-1, moment)
    return begin + int(np.argmin(np.square(moments).sum(axis=1))) * moment + moment // 2


def _segment(segment: Any, number: int, begin: int) -> Segment:
    """faster-whisper's segment as ours, its times counted from the beginning of the file."""
    offset_s = begin / RATE_HZ
    words = [
        Word(word.word, offset_s + word.start, offset_s + word.end, word.probability)
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


def best_device(wanted: str) -> str:
    """`cpu` or `cuda`: what is wanted, or for `auto` CUDA where there is a card."""
    if wanted != "auto":
        return wanted
    return "cuda" if ctranslate2.get_cuda_device_count() else "cpu"
