"""A sequence knows its tokens, what the model has seen of them, and the text they are."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from engine_room.chat.logprobs import Spelling, TokenLogprob
from engine_room.chat.reader import AnswerReader
from engine_room.chat.sequence import Sequence, Tally, Tokens
from engine_room.chat.turn import ChatResult, Item, Text
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
    return Sequence(tally, 0, tokens_of([5, 6, 7]), 10, Silent(), AnswerReader(0, stops))


def text_of(writing: Sequence, piece: bytes) -> str:
    return "".join(item.text for item in writing.items_of(piece) if isinstance(item, Text))


def logprobs_of(item: Item) -> list[str]:
    return [each.spelling.text for each in item.logprobs] if isinstance(item, Text) else []


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
    assert [text_of(emoji, party[:2]), text_of(emoji, party[2:3]), text_of(emoji, party[3:])] == [
        "",
        "",
        "🎉",
    ]


def test_bytes_that_are_no_text_become_a_mark_and_not_an_error() -> None:
    assert text_of(sequence(), b"a\xffb") == "a\ufffdb"


def test_what_may_begin_a_stop_string_waits() -> None:
    stopping = sequence("END")
    assert text_of(stopping, b"one E") == "one "
    assert text_of(stopping, b"N") == ""
    assert text_of(stopping, b"D two") == ""
    assert stopping.reader.found_stop


def test_logprobs_go_out_with_the_text_that_was_held_back() -> None:
    stopping = sequence("END")
    sent = []
    for piece in (b"one E", b"N", b" two"):
        stopping.logprobs.add(TokenLogprob(Spelling(piece.decode(), piece), -1.0))
        sent.append([each for item in stopping.items_of(piece) for each in logprobs_of(item)])
    assert sent == [["one E"], [], ["N", " two"]]


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
