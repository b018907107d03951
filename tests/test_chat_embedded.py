"""The numbers that stand for an image in a prompt: of its content, and never cut in two."""

import numpy as np

from engine_room.chat.embedded import FIRST_ID, ids_of, whole


def test_the_numbers_are_negative_and_the_same_for_the_same_image_and_tile_only() -> None:
    ids = ids_of(b"one", 0, 9)
    assert len(ids) == 9
    assert max(ids) < 0
    assert min(ids) >= -(2**31)
    assert ids == ids_of(b"one", 0, 9)
    assert not set(ids) & {*ids_of(b"one", 1, 9), *ids_of(b"other", 0, 9)}


def test_the_first_number_alone_says_that_an_image_begins() -> None:
    first, *others = ids_of(b"one", 0, 50)
    assert first < FIRST_ID
    assert min(others) >= FIRST_ID


def test_a_prefix_ends_before_an_image_or_after_it() -> None:
    one, other = ids_of(b"one", 0, 3), ids_of(b"other", 0, 2)
    prompt = np.array([7, 8, *one, *other, 9], np.int32)
    ends = [whole(prompt, length) for length in range(len(prompt) + 1)]
    assert ends == [0, 1, 2, 2, 2, 5, 5, 7, 8]
