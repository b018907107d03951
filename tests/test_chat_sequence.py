"""A sequence knows its tokens, what the model has seen of them, and the text they are."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from engine_room.chat.format import StopStrings
from engine_room.chat.sequence import Sequence, Tally, Tokens
from engine_room.chat.turn import ChatResult
from engine_room.jobs import Job


class Silent:
    """A drawer that is never asked."""

    def sample(self, logits_index: int) -> int:
        raise NotImplementedError

    def close(self) -> None:
        pass


def tokens_of(numbers: Iterable[int]) -> Tokens:
    return np.array(list(numbers), np.int32)


def sequence(*stops: str) -> Sequence:
    turn: Any = None
    tally = Tally(Job(turn, print), num_open=1, num_prompt_tokens=3)
    return Sequence(tally, 0, tokens_of([5, 6, 7]), 10, Silent(), StopStrings(stops))


def test_it_begins_as_its_prompt_with_everything_still_to_decode() -> None:
    fresh = sequence()
    assert fresh.tokens == [5, 6, 7]
    assert (fresh.num_pending, fresh.num_generated, fresh.seq_id) == (3, 0, None)


def test_what_was_drawn_is_generated_and_pending_until_it_is_decoded() -> None:
    writing = sequence()
    writing.num_decoded = 3
    writing.tokens.append(8)
    assert (writing.num_pending, writing.num_generated) == (1, 1)
    assert writing.prompt.tolist() == [5, 6, 7]


def test_the_bytes_of_a_character_wait_for_each_other() -> None:
    party = "🎉".encode()
    emoji = sequence()
    assert [emoji.text_of(party[:2]), emoji.text_of(party[2:3]), emoji.text_of(party[3:])] == [
        "",
        "",
        "🎉",
    ]


def test_bytes_that_are_no_text_become_a_mark_and_not_an_error() -> None:
    assert sequence().text_of(b"a\xffb") == "a\ufffdb"


def test_what_may_begin_a_stop_string_waits() -> None:
    stopping = sequence("END")
    assert stopping.text_of(b"one E") == "one "
    assert stopping.text_of(b"N") == ""
    assert stopping.text_of(b"D two") == ""
    assert stopping.stops.found


def test_it_is_cancelled_when_its_job_is() -> None:
    one = sequence()
    assert not one.cancelled
    one.tally.job.cancel()
    assert one.cancelled


def test_two_sequences_of_the_same_tokens_are_two() -> None:
    assert sequence() != sequence()


def test_a_tally_becomes_the_jobs_result() -> None:
    tally = sequence().tally
    assert tally.result() == ChatResult(3, 0, 0)
    tally.num_cached_tokens = 2
    tally.num_completion_tokens += 4
    assert tally.result() == ChatResult(3, 4, 2)


def test_of_each_prompt_the_first_answers_known_tokens_count() -> None:
    tally = sequence().tally
    tally.begin(0, 5)
    tally.begin(0, 2)  # another answer to it, or the same after a pause
    tally.begin(1, 7)
    assert tally.result().num_cached_tokens == 12


def test_the_prompts_time_ends_with_the_first_token() -> None:
    tally = sequence().tally
    assert (tally.result().prompt_s, tally.result().generation_s) == (0, 0)
    tally.begin(0, 0)
    tally.drew()
    first_token_at = tally.first_token_at
    tally.drew()
    assert tally.first_token_at == first_token_at
    result = tally.result()
    assert result.prompt_s > 0
    assert result.generation_s > 0
