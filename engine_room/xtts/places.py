"""Places in the GPT's memory: a sequence for each sentence that is spoken, and some for voices, which stay.

All sentences in a voice begin with its positions, so these are computed once and shared.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence

from engine_room.xtts.gpt import Conditioning, Floats, Gpt, Span


class Places:
    """The sequences of one GPT, `num_voices` of them for voices. Belongs to the GPT's thread; `decode` is how
    positions get into it."""

    def __init__(
        self, gpt: Gpt, num_voices: int, decode: Callable[[Sequence[Span]], Floats]
    ) -> None:
        self._gpt = gpt
        self._num_voices = num_voices
        self._decode = decode
        self._free_ids = list(range(gpt.num_sequences - num_voices))
        self._voice_ids: OrderedDict[bytes, int] = OrderedDict()  # the latest used last

    @property
    def has_free(self) -> bool:
        """True when one more sentence finds a place."""
        return bool(self._free_ids)

    def take(self, voice_key: bytes, conditioning: Conditioning) -> int:
        """A sequence for a sentence, the positions of its voice in it already."""
        voice_id = self._voice_id(voice_key, conditioning)
        seq_id = self._free_ids.pop()
        self._gpt.copy_prefix(voice_id, seq_id, len(conditioning.latents))
        return seq_id

    def give_back(self, seq_id: int) -> None:
        """A sentence is spoken."""
        self._gpt.forget(seq_id)
        self._free_ids.append(seq_id)

    def _voice_id(self, key: bytes, conditioning: Conditioning) -> int:
        known = self._voice_ids
        if key in known:
            known.move_to_end(key)
            return known[key]
        if len(known) == self._num_voices:
            _, voice_id = known.popitem(last=False)
            self._gpt.forget(voice_id)
        else:
            voice_id = self._gpt.num_sequences - 1 - len(known)
        self._decode([Span(voice_id, 0, conditioning.latents)])
        known[key] = voice_id
        return voice_id
