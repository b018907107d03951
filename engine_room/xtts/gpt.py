"""What every engine for XTTS's GPT does: embeddings of some sentences in, hidden states out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
LAYER_NORM_EPSILON = 1e-5  # everywhere in the GPT and after it
# What a batch holds; a sentence's prompt is shorter.
MAX_BATCH_POSITIONS = 512


@dataclass(frozen=True, slots=True)
class Conditioning:
    """What makes a voice: `latents`, float32 (positions, channels), for the GPT; `speaker`, float32 (512,),
    for the vocoder."""

    latents: Floats
    speaker: Floats


@dataclass(frozen=True, slots=True)
class Tables:
    """What stands around the GPT: embeddings of tokens and positions, float32 (rows, channels), and the
    norm and head that turn its hidden states into latents and logits."""

    text: Floats
    text_positions: Floats
    audio: Floats
    audio_positions: Floats
    norm_weight: Floats
    norm_bias: Floats
    head_weight: Floats
    head_bias: Floats
    start_text: int
    stop_text: int
    start_audio: int
    stop_audio: int
    max_audio_tokens: int


@dataclass(frozen=True, slots=True)
class Span:
    """Positions of one sequence in a batch, beginning at one of them: float32 (positions, channels)."""

    seq_id: int
    position: int
    embeddings: Floats


class Gpt(Protocol):
    """A GPT with memory for several sequences, whose ids are below `num_sequences`; together they may have
    `num_positions`. Belongs to one thread."""

    num_sequences: int
    num_positions: int

    def decode(self, spans: Sequence[Span], num_threads: int) -> Floats:
        """The hidden state at the last position of each span, float32 (spans, channels); at most
        MAX_BATCH_POSITIONS in all. Raises RuntimeError when it cannot compute."""

    def copy_prefix(self, source: int, target: int, num_positions: int) -> None:
        """Let the target sequence, which is empty, begin with the source's first positions."""

    def forget(self, seq_id: int) -> None:
        """Drop all of a sequence."""

    def close(self) -> None:
        """Free the memory."""
