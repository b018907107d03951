"""A piece of text being spoken: the positions it puts into the GPT, and what becomes of its hidden states.

Audio tokens are drawn one after the other; the hidden state that each is drawn from is, normed, the latent
that the vocoder makes 46.4 ms of sound of. So says `Xtts.inference_stream`, and this gives the same.
"""

from collections.abc import Sequence

import numpy as np

from engine_room.xtts.gpt import LAYER_NORM_EPSILON, Conditioning, Floats, Span, Tables
from engine_room.xtts.sampling import AudioSampler


class Utterance:
    """One piece; `seq_id` is where the GPT has it."""

    def __init__(
        self,
        tables: Tables,
        conditioning: Conditioning,
        text_tokens: Sequence[int],
        sampler: AudioSampler,
        max_tokens: int,
    ) -> None:
        self._tables = tables
        self._sampler = sampler
        self._max_tokens = min(max_tokens, tables.max_audio_tokens)
        self._pending = prompt(tables, conditioning, text_tokens)
        self._position = 0
        self._num_tokens = 0
        self._latents: list[Floats] = []
        self.has_ended = False  # by itself
        self.seq_id = -1

    @property
    def num_positions(self) -> int:
        """How many positions it may take at most."""
        return self._position + len(self._pending) + self._max_tokens - self._num_tokens

    @property
    def num_pending(self) -> int:
        """Positions that the GPT has not seen yet; 1 once it speaks."""
        return len(self._pending)

    @property
    def num_latents(self) -> int:
        """Latents that `take` would give."""
        return len(self._latents)

    @property
    def takes_likeliest(self) -> bool:
        """True when its seed makes no difference."""
        return self._sampler.takes_likeliest

    @property
    def is_over(self) -> bool:
        """True when it has ended, or may not go on."""
        return self.has_ended or self._num_tokens >= self._max_tokens

    def skip(self, num_positions: int) -> None:
        """The first positions are in the GPT's memory already."""
        self._pending = self._pending[num_positions:]
        self._position = num_positions

    def span(self) -> Span:
        """The positions to decode next."""
        return Span(self.seq_id, self._position, self._pending)

    def accept(self, latent: Floats, logits: Floats) -> None:
        """Draw a token from what the GPT said about the last span."""
        tables = self._tables
        self._position += len(self._pending)
        self._latents.append(latent)
        token = self._sampler.sample(logits)
        self._num_tokens += 1
        self.has_ended = token == tables.stop_audio
        self._pending = (tables.audio[token] + tables.audio_positions[self._num_tokens])[None]

    def take(self) -> Floats:
        """The latents since the last time, float32 (latents, channels)."""
        taken, self._latents = self._latents, []
        return np.stack(taken) if taken else np.zeros((0, self._tables.audio.shape[1]), np.float32)


def prompt(tables: Tables, conditioning: Conditioning, text_tokens: Sequence[int]) -> Floats:
    """The voice, the text and the token that all speech begins with, float32 (positions, channels)."""
    tokens = [tables.start_text, *text_tokens, tables.stop_text]
    text = tables.text[tokens] + tables.text_positions[: len(tokens)]
    start = tables.audio[tables.start_audio] + tables.audio_positions[0]
    return np.concatenate([conditioning.latents, text, start[None]]).astype(np.float32)


def latents_and_logits(tables: Tables, hidden: Floats) -> tuple[Floats, Floats]:
    """Of hidden states, float32 (spans, channels): latents of that shape, and logits (spans, tokens)."""
    centred = hidden - hidden.mean(1, keepdims=True)
    scale = np.sqrt((centred**2).mean(1, keepdims=True) + np.float32(LAYER_NORM_EPSILON))
    latents: Floats = centred / scale * tables.norm_weight + tables.norm_bias
    # Not `@`: the threads of numpy's BLAS wait busily after it, on the cores that the GPT wants back. With
    # it a token took 45 ms instead of 20.
    logits: Floats = np.einsum("ij,kj->ik", latents, tables.head_weight) + tables.head_bias
    return latents, logits
