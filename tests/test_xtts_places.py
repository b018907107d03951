"""Each sentence has a place of its own in the GPT's memory, and voices lie there only once."""

from collections.abc import Sequence

import numpy as np

from engine_room.xtts.gpt import Conditioning, Floats, Span
from engine_room.xtts.places import Places


class Memory:
    """A GPT that only remembers what its sequences begin with."""

    num_sequences = 5
    num_positions = 100

    def __init__(self) -> None:
        self.held: dict[int, float] = {}
        self.num_decoded = 0

    def decode(self, spans: Sequence[Span], num_threads: int = 1) -> Floats:
        """The first number of each span."""
        for span in spans:
            assert span.seq_id not in self.held
            self.held[span.seq_id] = float(span.embeddings[0, 0])
            self.num_decoded += 1
        return np.zeros((len(spans), 1), np.float32)

    def copy_prefix(self, source: int, target: int, num_positions: int) -> None:
        """Only into an empty one."""
        assert target not in self.held
        assert num_positions == 2
        self.held[target] = self.held[source]

    def forget(self, seq_id: int) -> None:
        """It must hold something."""
        del self.held[seq_id]

    def close(self) -> None:
        """Nothing is open."""


def take(places: Places, voice: int) -> int:
    latents = np.full((2, 4), voice, np.float32)
    return places.take(bytes([voice]), Conditioning(latents, np.zeros(512, np.float32)))


def test_a_sentence_begins_with_its_voice_which_is_computed_once() -> None:
    memory = Memory()
    places = Places(memory, 2, memory.decode)
    first, second, third = (take(places, voice) for voice in (7, 8, 7))
    assert [memory.held[seq_id] for seq_id in (first, second, third)] == [7, 8, 7]
    assert memory.num_decoded == 2


def test_there_are_as_many_places_as_sequences_without_the_voices() -> None:
    memory = Memory()
    places = Places(memory, 2, memory.decode)
    taken = [take(places, 7) for _ in range(3)]
    assert not places.has_free
    places.give_back(taken[1])
    assert places.has_free
    assert take(places, 7) == taken[1]


def test_of_too_many_voices_the_one_longest_not_used_is_forgotten() -> None:
    memory = Memory()
    places = Places(memory, 2, memory.decode)
    for voice in (7, 8, 7, 9):  # 9 takes the place of 8
        places.give_back(take(places, voice))
    assert memory.num_decoded == 3
    places.give_back(take(places, 7))
    assert memory.num_decoded == 3
    assert memory.held[take(places, 8)] == 8
    assert memory.num_decoded == 4
