"""A prompt begins with the longest prefix that a live or past one shares; what is unused moves out."""

from typing import Any

import numpy as np
import pytest

from engine_room.chat.cache import (
    MAX_STALE_TOKENS,
    MIN_GAIN_TOKENS,
    Match,
    Past,
    PrefixCache,
    State,
    num_common,
    num_held,
)
from engine_room.chat.embedded import Embedded, ids_of
from engine_room.chat.reader import AnswerReader
from engine_room.chat.sequence import Sequence, Tally, Tokens
from engine_room.jobs import Job
from tests.test_chat_sequence import Silent, tokens_of


class FakeMemory:
    """A memory that knows how many tokens each id holds; a token is a byte of state."""

    def __init__(self, shares_prefixes: bool = True) -> None:
        self.shares_prefixes = shares_prefixes
        self.held: dict[int, int] = {}
        self.calls: list[tuple[object, ...]] = []
        self.has_room = True

    def copy_prefix(self, source: int, target: int, num_tokens: int) -> None:
        assert num_tokens <= self.held[source]
        self.held[target] = num_tokens
        self.calls.append(("copy", source, target, num_tokens))

    def forget(self, seq_id: int, from_position: int = 0) -> None:
        self.held[seq_id] = from_position
        self.calls.append(("forget", seq_id, from_position))

    def save(self, seq_id: int) -> State:
        self.calls.append(("save", seq_id))
        return np.zeros(self.held[seq_id], np.uint8)

    def restore(self, seq_id: int, state: State) -> bool:
        self.calls.append(("restore", seq_id))
        self.held[seq_id] = len(state) * self.has_room
        return self.has_room


class World:
    """A cache, its memory, and what an engine would do with them."""

    def __init__(self, num_ids: int = 8, max_bytes: int = 10**9, shares: bool = True) -> None:
        self.memory = FakeMemory(shares)
        self.cache = PrefixCache(self.memory, num_ids, max_bytes)
        self.live: list[Sequence] = []

    def begin(self, prompt: Tokens) -> Sequence:
        """A sequence that has begun, with what it shares."""
        turn: Any = None
        tally = Tally(Job(turn, print), 1, len(prompt))
        begun = Sequence(tally, 0, prompt, 99, Silent(), AnswerReader(0))
        tokens = np.array(begun.tokens, np.int32)
        self.cache.begin(begun, self.cache.match(tokens, self.live))
        self.live.append(begun)
        return begun

    def decode(self, sequence: Sequence, num_tokens: int | None = None) -> None:
        """Let the model see more of it; all, unless told otherwise."""
        count = sequence.num_pending if num_tokens is None else num_tokens
        sequence.num_decoded += count
        assert sequence.seq_id is not None
        self.memory.held[sequence.seq_id] = sequence.num_decoded

    def end(self, sequence: Sequence) -> None:
        self.live.remove(sequence)
        self.cache.end(sequence)

    def past(self, prompt: Tokens) -> None:
        """Decode a prompt to its end and let it go."""
        sequence = self.begin(prompt)
        self.decode(sequence)
        self.end(sequence)

    def shared(self, prompt: Tokens) -> int:
        return self.cache.match(prompt, self.live).num_tokens


def words(*counts: int) -> Tokens:
    """So many tokens of the first kind, so many of the second …"""
    return tokens_of(kind for kind, count in enumerate(counts) for _ in range(count))


def test_nothing_is_shared_with_nothing() -> None:
    world = World()
    assert world.cache.match(words(5), []) == Match(None, 0)
    assert world.begin(words(5)).num_decoded == 0
    assert world.memory.calls == []


def test_the_longest_prefix_of_the_past_ones_wins() -> None:
    world = World()
    for prompt in (words(10, 0, 5), words(10, 20, 1), words(10, 8, 0, 3)):
        world.past(prompt)
    match = world.cache.match(words(10, 15, 0, 0, 9), [])
    assert match.num_tokens == 25
    assert isinstance(match.source, Past)
    assert match.source.tokens.tolist() == words(10, 20, 1).tolist()


def test_of_many_past_ones_the_longest_prefix_is_found() -> None:
    random = np.random.default_rng(1)
    pasts = [tokens_of(random.integers(0, 3, random.integers(1, 9)) * 100) for _ in range(300)]
    world = World(num_ids=400)
    for tokens in pasts:
        world.past(tokens)
    for _ in range(300):
        prompt = tokens_of(random.integers(0, 3, 10) * 100)
        assert world.shared(prompt) == max(num_common(prompt, tokens) for tokens in pasts)


def test_a_live_one_shares_what_it_has_decoded_and_wins_where_it_shares_as_much() -> None:
    world = World()
    world.past(words(10, 3))
    live = world.begin(words(30))
    world.decode(live, 2)
    assert world.cache.match(words(25, 9), world.live) == Match(live, 12)
    world.decode(live)
    assert world.cache.match(words(25, 9), world.live) == Match(live, 25)


def test_a_past_one_wins_over_a_live_one_that_shares_less() -> None:
    world = World()
    live = world.begin(words(10, 5))
    world.decode(live)
    world.past(words(10, 0, 7))
    assert isinstance(world.cache.match(words(10, 0, 8), world.live).source, Past)


@pytest.mark.parametrize("alive", [True, False])
def test_one_token_at_least_is_left_to_decode(alive: bool) -> None:
    world = World()
    sequence = world.begin(words(12))
    world.decode(sequence)
    if not alive:
        world.end(sequence)
    assert world.shared(words(12)) == 11
    assert world.begin(words(12)).num_pending == 1


def test_a_prefix_in_the_models_memory_is_copied_for_nothing() -> None:
    world = World()
    world.past(words(20, 5))
    begun = world.begin(words(20, 0, 9))
    assert begun.num_decoded == 20
    assert world.memory.calls == [("copy", 7, begun.seq_id, 20)]


def test_a_second_turn_takes_over_what_the_first_one_held() -> None:
    world = World(num_ids=2)
    world.past(words(20, 5))
    second = world.begin(words(20, 5, 8))
    assert second.num_decoded == 25
    assert world.cache.num_stale_tokens == 0
    assert world.memory.calls[-1] == ("forget", 1, 0)
    world.decode(second)
    world.end(second)
    assert world.cache.num_stale_tokens == 33


def test_past_ones_that_a_new_one_contains_are_dropped() -> None:
    world = World()
    one, other = world.begin(words(20)), world.begin(words(20, 4))
    for sequence in (one, other):
        world.decode(sequence)
    world.end(one)
    assert world.cache.num_stale_tokens == 20
    world.end(other)
    assert world.cache.num_stale_tokens == 24
    world.past(words(20, 4))
    assert world.cache.num_stale_tokens == 24


def test_what_was_never_decoded_is_not_kept() -> None:
    world = World(num_ids=1)
    for _ in range(3):
        world.end(world.begin(words(9)))
    assert world.cache.num_stale_tokens == 0
    assert world.shared(words(9)) == 0


def test_a_cancelled_prompt_is_kept_as_far_as_it_came() -> None:
    world = World()
    sequence = world.begin(words(30))
    world.decode(sequence, 12)
    world.end(sequence)
    assert world.shared(words(30)) == 12


def test_beyond_the_stale_limit_the_longest_unused_move_to_ram() -> None:
    world = World()
    half = MAX_STALE_TOKENS // 2
    first, second, third = (tokens_of([kind] * half) for kind in (1, 2, 3))
    world.past(first)
    world.past(second)
    assert (world.cache.num_stale_tokens, world.cache.num_bytes) == (2 * half, 0)
    world.past(third)
    assert (world.cache.num_stale_tokens, world.cache.num_bytes) == (2 * half, half)
    assert ("save", 7) in world.memory.calls
    assert world.shared(first) == half - 1


def test_what_is_used_again_counts_as_new() -> None:
    world = World()
    half = MAX_STALE_TOKENS // 2
    first, second = (tokens_of([kind] * half) for kind in (1, 2))
    world.past(first)
    world.past(second)
    again = world.begin(tokens_of([1, 1, 9]))
    world.past(tokens_of([3] * half))
    match = world.cache.match(second, world.live)
    assert isinstance(match.source, Past)
    assert match.source.seq_id is None
    assert again.num_decoded == 2


def test_a_prefix_in_ram_is_put_back_and_cut_to_what_is_shared() -> None:
    world = World()
    world.past(words(30, 10))
    world.cache.move_out()
    assert (world.cache.num_stale_tokens, world.cache.num_bytes) == (0, 40)
    begun = world.begin(words(30, 0, 5))
    assert begun.num_decoded == 30
    assert world.memory.calls[-2:] == [("restore", begun.seq_id), ("forget", begun.seq_id, 30)]


def test_a_prefix_that_finds_no_room_is_computed_again() -> None:
    world = World()
    world.past(words(30))
    world.cache.move_out()
    world.memory.has_room = False
    begun = world.begin(words(30, 5))
    assert begun.num_decoded == 0
    assert world.memory.held[begun.seq_id or 0] == 0


def test_ram_holds_no_more_than_its_limit_and_forgets_the_longest_unused() -> None:
    world = World(max_bytes=100)
    for kind in (1, 2, 3):
        world.past(tokens_of([kind] * 45))
        world.cache.move_out()
    assert world.cache.num_bytes == 90
    assert [world.shared(tokens_of([kind] * 45)) for kind in (1, 2, 3)] == [0, 44, 44]


def test_without_ram_only_the_models_memory_remembers() -> None:
    world = World(max_bytes=0)
    world.past(words(30))
    assert world.shared(words(30)) == 29
    world.cache.move_out()
    assert world.shared(words(30)) == 0


def test_ids_never_run_out() -> None:
    world = World(num_ids=3, max_bytes=50)
    for kind in range(100):
        one = world.begin(tokens_of([kind] * 20))
        other = world.begin(tokens_of([kind] * 10 + [500 + kind] * 10))
        for sequence in (one, other):
            world.decode(sequence)
        assert one.seq_id != other.seq_id
        world.end(one)
        world.end(other)
    assert world.cache.num_bytes <= 50


def test_a_match_that_moves_to_ram_before_it_is_used_is_still_good() -> None:
    world = World(num_ids=1, max_bytes=0)
    world.past(words(30))
    begun = world.begin(words(30, 2))
    assert begun.num_decoded == 30
    assert [call[0] for call in world.memory.calls] == ["save", "forget", "restore", "forget"]


def test_it_is_worth_waiting_for_a_live_one_that_is_decoding_much_more_of_the_prompt() -> None:
    world = World()
    live = world.begin(words(MIN_GAIN_TOKENS, 9))
    prompt = words(MIN_GAIN_TOKENS, 0, 9)

    def is_worth_waiting() -> bool:
        return world.cache.is_worth_waiting(
            prompt, world.cache.match(prompt, world.live), world.live
        )

    assert is_worth_waiting()
    world.decode(live, MIN_GAIN_TOKENS)
    assert not is_worth_waiting()


def test_it_is_not_worth_waiting_for_a_few_tokens_nor_for_what_a_past_one_has() -> None:
    world = World()
    world.begin(words(MIN_GAIN_TOKENS - 1, 100))
    prompt = words(MIN_GAIN_TOKENS - 1, 0, 100)
    assert not world.cache.is_worth_waiting(prompt, Match(None, 0), world.live)
    past = Match(Past(prompt, 0), 10)
    live = world.begin(words(0, 0, MIN_GAIN_TOKENS + 9))
    assert not world.cache.is_worth_waiting(live.prompt, past, world.live)


def test_nobody_waits_for_one_that_has_gone() -> None:
    world = World()
    live = world.begin(words(500))
    prompt = words(500, 1)
    assert world.cache.is_worth_waiting(prompt, Match(None, 0), world.live)
    world.end(live)
    assert not world.cache.is_worth_waiting(prompt, Match(None, 0), world.live)


def test_a_model_whose_memory_is_one_state_shares_nothing_and_nobody_waits() -> None:
    world = World(num_ids=2, shares=False)
    live = world.begin(words(500))
    assert not world.cache.is_worth_waiting(words(500, 1), Match(None, 0), world.live)
    world.decode(live)
    assert world.shared(words(500, 1)) == 0
    world.end(live)
    assert (world.shared(words(500, 1)), world.cache.num_stale_tokens) == (0, 0)
    for _ in range(5):
        world.past(words(7))


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [([], [], 0), ([1], [], 0), ([1, 2], [1, 2, 3], 2), ([1, 2, 3], [1, 9, 3], 1), ([4], [5], 0)],
)
def test_common_tokens_are_counted_from_the_beginning(
    one: list[int], other: list[int], expected: int
) -> None:
    assert num_common(tokens_of(one), tokens_of(other)) == expected


def test_what_sequences_hold_together_counts_common_prompts_once() -> None:
    world = World()
    prompts = [words(100, 7), words(0, 50), words(100, 0, 9), words(100, 7, 4), words(0, 50)]
    sequences = [world.begin(prompt) for prompt in prompts]
    assert num_held(sequences) == 100 + 7 + 4 + 9 + 50
    sequences[0].tokens += [1, 2, 3]
    assert num_held(sequences) == 100 + 7 + 4 + 9 + 50 + 3
    assert num_held([]) == 0


def test_a_match_cuts_no_image_in_two() -> None:
    world = World()
    one = ids_of(b"one", 0, 4)
    alike = (*one[:2], *ids_of(b"other", 0, 4)[2:])  # as a chance of one in 2**62 would have it
    past = world.begin(tokens_of([1, 2, *one, 3, 4]))
    world.decode(past)
    for live in (True, False):
        if not live:
            world.end(past)
        assert world.cache.match(tokens_of([1, 2, *alike, 3]), world.live).num_tokens == 2
        assert world.cache.match(tokens_of([1, 2, *one, 9]), world.live).num_tokens == 6


def test_a_part_of_an_image_is_not_kept() -> None:
    world = World()
    ids = ids_of(b"one", 0, 4)
    begun = world.begin(tokens_of([1, 2, *ids, 3]))
    begun.images = {2: Embedded(ids, np.zeros((4, 8), np.float32))}
    world.decode(begun, 2)
    begun.saw(3)
    assert (begun.num_decoded, begun.num_plain) == (2, 0)
    seq_id = begun.seq_id
    world.end(begun)
    assert world.memory.calls[-1] == ("forget", seq_id, 2)
    assert begun.num_image_decoded == 0
    assert world.cache.match(tokens_of([1, 2, *ids, 3]), ()).num_tokens == 2
