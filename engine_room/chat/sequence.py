"""A sequence: one answer under way, its tokens, and the text they have become."""

import codecs
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine_room.chat.embedded import Embedded
from engine_room.chat.logprobs import HeldLogprobs
from engine_room.chat.reader import AnswerReader
from engine_room.chat.turn import ChatResult, GenerationTurn, Item, ModelTurn, Text
from engine_room.jobs import Job
from engine_room.metrics import Metrics

Tokens = NDArray[np.int32]


class Drawer(Protocol):
    """What draws the next token of one sequence."""

    def sample(self, logits_index: int) -> int:
        """A token, by the logits that the last batch left at this index. Raises InvalidRequest."""

    def close(self) -> None:
        """Free the memory."""


@dataclass(slots=True)
class Tally:
    """What the answers of one job have in common: how many are open, and the tokens they took."""

    job: Job[ModelTurn]
    num_open: int
    num_prompt_tokens: int
    num_cached_tokens: int = 0  # of each prompt's first answer, once it has begun
    num_completion_tokens: int = 0
    num_reasoning_tokens: int = 0
    begun_prompts: set[int] = field(default_factory=set)
    begun_at: float | None = None  # time.perf_counter(), as below
    first_token_at: float | None = None

    def begin(self, prompt_index: int, num_cached_tokens: int) -> None:
        """An answer to this prompt begins, so many tokens of which are there; the first one counts."""
        if self.begun_at is None:
            self.begun_at = time.perf_counter()
            self.job.has_begun = True
        if prompt_index not in self.begun_prompts:
            self.begun_prompts.add(prompt_index)
            self.num_cached_tokens += num_cached_tokens

    def drew(self) -> None:
        """A token was drawn."""
        if self.first_token_at is None:
            self.first_token_at = time.perf_counter()

    def left(self, num_completion_tokens: int) -> None:
        """An answer is over, or was broken off, after so many tokens."""
        self.num_open -= 1
        self.num_completion_tokens += num_completion_tokens

    def count(self, metrics: Metrics) -> None:
        """Count what the job took, once none is open; nothing, if none was ever begun."""
        if self.begun_at is None:
            return
        first_token_s = self.first_token_at and self.first_token_at - self.job.submitted_at
        result = self.result()
        metrics.wrote(
            result.num_prompt_tokens,
            result.num_cached_tokens,
            result.num_completion_tokens,
            first_token_s,
            result.generation_s,
        )

    def result(self) -> ChatResult:
        """The result of the job, once none is open."""
        ended_at = time.perf_counter()
        first_token_at = self.first_token_at or ended_at
        return ChatResult(
            self.num_prompt_tokens,
            self.num_completion_tokens,
            self.num_cached_tokens,
            self.num_reasoning_tokens,
            prompt_s=first_token_at - (self.begun_at or first_token_at),
            generation_s=ended_at - first_token_at,
        )


@dataclass(eq=False, slots=True)
class Sequence:
    """One answer. `tokens` is the prompt and what was generated; the model's memory holds the first
    `num_decoded` of them, under `seq_id`, while the sequence runs. `images` are those in the prompt, by where
    they begin; of the one that comes next it holds `num_image_decoded` tokens."""

    tally: Tally
    index: int
    prompt: Tokens
    max_tokens: int
    sampler: Drawer
    reader: AnswerReader
    marks: Mapping[int, bytes] = field(default_factory=dict)  # control tokens that the reader reads
    prompt_index: int = 0  # which of the turn's prompts
    images: Mapping[int, Embedded] = field(default_factory=dict)
    num_image_decoded: int = 0
    tokens: list[int] = field(default_factory=list)
    seq_id: int | None = None
    num_decoded: int = 0
    logprobs: HeldLogprobs = field(default_factory=HeldLogprobs)
    characters: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace")
    )

    def __post_init__(self) -> None:
        self.tokens = self.prompt.tolist()

    @property
    def num_pending(self) -> int:
        """Tokens that the model has not seen yet; 1 while the answer is being written."""
        return len(self.tokens) - self.num_decoded

    @property
    def num_plain(self) -> int:
        """Those of them before the next image, which comes at once when there are none."""
        begins = (begin for begin in self.images if begin >= self.num_decoded)
        return min(begins, default=len(self.tokens)) - self.num_decoded

    @property
    def next_image(self) -> Embedded | None:
        """The image that comes at once."""
        return self.images.get(self.num_decoded)

    def saw(self, num_tokens: int) -> None:
        """So many more tokens of the image that comes at once are decoded."""
        image = self.images[self.num_decoded]
        self.num_image_decoded += num_tokens
        if self.num_image_decoded == image.num_tokens:
            self.num_decoded += len(image.ids)
            self.num_image_decoded = 0

    @property
    def num_decoded_tokens(self) -> int:
        """What its decoded positions take of the model's memory: images can take more than those."""
        before = {at: image for at, image in self.images.items() if at < self.num_decoded}
        return self.num_decoded + num_shared_positions(before)

    @property
    def num_held_tokens(self) -> int:
        """What all of it takes."""
        return len(self.tokens) + num_shared_positions(self.images)

    @property
    def num_generated(self) -> int:
        """Tokens of the answer so far."""
        return len(self.tokens) - len(self.prompt)

    @property
    def is_seeded(self) -> bool:
        """True when the same request is to give the same text."""
        turn = self.tally.job.turn
        return isinstance(turn, GenerationTurn) and turn.sampling.seed >= 0

    @property
    def num_top_logprobs(self) -> int | None:
        """How many of the likeliest tokens are asked for at each place; None: no logprobs at all."""
        turn = self.tally.job.turn
        return turn.num_top_logprobs if isinstance(turn, GenerationTurn) else None

    @property
    def cancelled(self) -> bool:
        """True once nobody waits for it."""
        return self.tally.job.cancelled

    def items_of(self, piece: bytes) -> Iterator[Item]:
        """What a token's bytes let out; part of a character, or what might be a mark, waits."""
        self.tally.num_reasoning_tokens += self.reader.is_thinking
        text = self.characters.decode(piece)
        self.logprobs.written(len(text))
        for item in self.reader.feed(text):
            logprobs = self.logprobs.sent_until(self.reader.num_out)
            yield replace(item, logprobs=logprobs) if isinstance(item, Text) else item

    def rest(self) -> Iterator[Item]:
        """What was still held back when the answer ended."""
        logprobs = () if self.reader.found_stop else self.logprobs.rest()
        for item in self.reader.rest():
            if isinstance(item, Text):
                item, logprobs = replace(item, logprobs=logprobs), ()
            yield item
        if logprobs:
            yield Text(self.index, "", logprobs)


def num_shared_positions(images: Mapping[int, Embedded]) -> int:
    """How many more tokens than positions there are in images."""
    return sum(image.num_tokens - len(image.ids) for image in images.values())
