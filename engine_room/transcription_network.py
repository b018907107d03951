"""faster-whisper's model with what a server needs of it: threads by need, a prompt that fits, and several
tracks decoded at once.

faster-whisper decodes several pieces at once too (`BatchedInferencePipeline`), but each once only: what is
left of 30 s after the last timestamp is lost, and a piece the model is unsure of is not tried again. That
took the word errors of five minutes of the default voice from 0.9 % to 6.4 %. Here each track goes on from
its last timestamp, as a sound alone does, and the text is the same.
"""

import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import ctranslate2
import faster_whisper
import numpy as np
from faster_whisper.audio import pad_or_trim
from faster_whisper.transcribe import Segment as WhisperSegment
from numpy.typing import NDArray

COMPUTE = {"cpu": "int8", "cuda": "float16"}


class Track:
    """Some speech that is being decoded: its features, (mels, frames), and how far it is. Iterate it to
    decode it alone."""

    def __init__(
        self, network: "Network", features: NDArray[np.float32], tokenizer: Any, options: Any
    ) -> None:
        self.network, self.features = network, features
        self.tokenizer, self.options = tokenizer, options
        self.segments: deque[Any] = deque()  # decoded, and not told yet
        self.seek: int = 0
        self.num_frames = int(features.shape[-1]) - 1

    def __iter__(self) -> Iterator[Any]:
        return self.network.alone(self)

    @property
    def is_done(self) -> bool:
        """True when all of it is decoded."""
        return self.seek >= self.num_frames

    @property
    def num_next(self) -> int:
        """Frames of the next part, at most those of 30 s."""
        return min(int(self.network.feature_extractor.nb_max_frames), self.num_frames - self.seek)

    def part(self) -> NDArray[np.float32]:
        """The next 30 s."""
        padded: NDArray[np.float32] = pad_or_trim(
            self.features[:, self.seek : self.seek + self.num_next]
        )
        return padded

    def prompt(self) -> list[int]:
        """What stands before the text of the next part; the request's prompt before the first only."""
        text = "" if self.seek else self.options.initial_prompt
        previous = self.tokenizer.encode(f" {text.strip()}") if text else []
        return self.network.get_prompt(self.tokenizer, previous, hotwords=self.options.hotwords)

    def take(self, result: Any, avg_logprob: float, temperature: float, repetition: float) -> None:
        """What was decoded of the next part; goes on behind it, or behind its last timestamp."""
        begin, num_frames = self.seek, self.num_next
        self.seek += num_frames
        options = self.options
        if (
            result.no_speech_prob > options.no_speech_threshold
            and avg_logprob <= options.log_prob_threshold
        ):
            return
        seconds = self.network.feature_extractor.time_per_frame
        parts, seek, _ = self.network._split_segments_by_timestamps(
            tokenizer=self.tokenizer,
            tokens=result.sequences_ids[0],
            time_offset=begin * seconds,
            segment_size=num_frames,
            segment_duration=num_frames * seconds,
            seek=begin,
        )
        self.seek = seek if seek > begin else self.seek
        for part in parts:
            text = self.tokenizer.decode(part["tokens"])
            if part["start"] == part["end"] or not text.strip():
                continue
            self.segments.append(
                WhisperSegment(
                    id=0,
                    seek=begin,
                    start=part["start"],
                    end=part["end"],
                    text=text,
                    tokens=part["tokens"],
                    avg_logprob=avg_logprob,
                    compression_ratio=repetition,
                    no_speech_prob=result.no_speech_prob,
                    words=None,
                    temperature=temperature,
                )
            )


class Network(faster_whisper.WhisperModel):  # type: ignore[misc]
    """faster-whisper's model, with a network for each number of threads asked for, loaded at the first need.
    Its `transcribe` gives a Track for segments."""

    model: Any

    def __init__(
        self, folder: Path, num_threads: int, wanted_threads: Callable[[], int], device: str
    ) -> None:
        super().__init__(
            str(folder), device=device, compute_type=COMPUTE[device], cpu_threads=num_threads
        )
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

    def get_prompt(self, tokenizer: Any, previous_tokens: list[int], **more: Any) -> list[int]:
        """What stands before the text: hotwords, and as much of the prompt's end as they leave room for.
        The library gives each of them that room, and the two together fill the decoder."""
        num_left = self.max_length // 2 - 1
        if hotwords := more.get("hotwords"):
            num_left = max(0, num_left - len(tokenizer.encode(f" {hotwords.strip()}")))
        kept = previous_tokens[-num_left:] if num_left else []
        return list(super().get_prompt(tokenizer, kept, **more))

    def generate_segments(
        self, features: NDArray[np.float32], tokenizer: Any, options: Any, *_: Any
    ) -> Track:
        """What `transcribe` calls last."""
        return Track(self, features, tokenizer, options)

    def alone(self, track: Track) -> Iterator[Any]:
        """The segments of one track, by the library's own loop."""
        segments: Iterator[Any] = super().generate_segments(
            track.features, track.tokenizer, track.options, False
        )
        return segments

    def step(self, tracks: Sequence[Track]) -> None:
        """Decode the next part of each track in one run. They are of one request, begun together, so that
        their prompts are equally long, which the network demands."""
        options = tracks[0].options
        parts = [track.part() for track in tracks]
        prompts = [track.prompt() for track in tracks]
        encoded = self.encode(np.stack(parts))  # first: it says which network `self.model` is
        results = self.model.generate(
            encoded,
            prompts,
            beam_size=options.beam_size,
            patience=options.patience,
            length_penalty=options.length_penalty,
            repetition_penalty=options.repetition_penalty,
            no_repeat_ngram_size=options.no_repeat_ngram_size,
            max_length=self.max_length,
            return_scores=True,
            return_no_speech_prob=True,
            suppress_blank=options.suppress_blank,
            suppress_tokens=options.suppress_tokens,
            max_initial_timestamp_index=round(options.max_initial_timestamp / self.time_precision),
        )
        for track, part, prompt, result in zip(tracks, parts, prompts, results, strict=True):
            tokens = result.sequences_ids[0]
            score = result.scores[0] * len(tokens) ** options.length_penalty
            avg_logprob = score / (len(tokens) + 1)
            repetition = _repetition(track.tokenizer.decode(tokens).strip())
            if (
                repetition <= options.compression_ratio_threshold
                and avg_logprob >= options.log_prob_threshold
            ):
                track.take(result, avg_logprob, options.temperatures[0], repetition)
            else:  # the library tries again, warmer
                track.take(
                    *self.generate_with_fallback(
                        self.encode(part), prompt, track.tokenizer, options
                    )
                )


def in_turn(track: Track, tracks: Sequence[Track], cancelled: Callable[[], bool]) -> Iterator[Any]:
    """The segments of one of several tracks, each as soon as it is decoded; the others go on meanwhile. Ends
    when `cancelled`."""
    while not cancelled():
        while track.segments:
            yield track.segments.popleft()
        if track.is_done:
            return
        track.network.step([other for other in tracks if not other.is_done])


def _repetition(text: str) -> float:
    """How well it compresses: the library's measure."""
    data = text.encode()
    return len(data) / len(zlib.compress(data))
