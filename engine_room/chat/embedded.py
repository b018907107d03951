"""What stands in a prompt in place of tokens: the vectors that an image encoder made of an image.

A prompt stays a list of numbers, one for each position. Those of an image are negative and made of its
content: so the same image is found again among past prompts, and another one never is.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Numbers down from here begin an image or a tile of one, those above go on with it.
FIRST_ID = -(2**30)


@dataclass(frozen=True, eq=False, slots=True)
class Embedded:
    """One image, or one tile of a large one.

    `ids` are its numbers in the prompt, one for each position; `vectors` (float32, (tokens, channels)) are
    often more than those, for in some models the tokens of an image share positions: then `grid` (int32,
    (2, 4, tokens)) says where each lies in an image at the beginning of a prompt, and how that moves when it
    begins a position later. `sees_ahead`: its tokens all see each other.
    """

    ids: tuple[int, ...]
    vectors: NDArray[np.float32]
    grid: NDArray[np.int32] | None = None
    sees_ahead: bool = False

    @property
    def num_tokens(self) -> int:
        """What it takes of the context."""
        return len(self.vectors)


def ids_of(digest: bytes, number: int, num_positions: int) -> tuple[int, ...]:
    """The numbers for the positions of the tile of this number, of the image with this digest."""
    noise = hashlib.shake_256(digest + number.to_bytes(4, "little")).digest(4 * num_positions)
    ids = np.frombuffer(noise, np.int32) | np.int32(-(2**31)) | np.int32(2**30)
    ids[0] &= ~np.int32(2**30)
    return tuple(ids.tolist())


def whole(prompt: NDArray[np.int32], length: int) -> int:
    """The longest beginning of a prompt, up to this length, that cuts no image in two."""
    while 0 < length < len(prompt) and FIRST_ID <= prompt[length] < 0:
        length -= 1
    return length
