"""Who runs in the next batch: those that write first, then prompts, first come first served."""

import numpy as np

from engine_room.chat.embedded import Embedded, ids_of
from engine_room.chat.format import sampling_of
from engine_room.chat.reader import AnswerReader
from engine_room.chat.scheduler import (
    MIN_PROMPT_TOKENS,
    MIN_PROMPT_TOKENS_ALONE,
    SEEDED_PROMPT_TOKENS,
    Scheduler,
)
from engine_room.chat.sequence import Sequence, Tally
from engine_room.chat.turn import CompletionTurn
from engine_room.jobs import Job
from engine_room.schemas_chat import SamplingFields
from tests.test_chat_format import FILE
from tests.test_chat_sequence import Silent, tokens_of


def sequence(num_tokens: int, num_decoded: int = 0, seed: int = -1) -> Sequence:
    sampling = sampling_of(SamplingFields(seed=seed))
    turn = CompletionTurn(file=FILE, prompts=(), sampling=sampling, max_tokens=None)
    tally = Tally(Job(turn, print), 1, num_tokens)
    made = Sequence(tally, 0, tokens_of(range(num_tokens)), 99, Silent(), AnswerReader(0))
    made.num_decoded = num_decoded
    return made


def writing() -> Sequence:
    """One whose prompt is decoded, but for the token drawn last."""
    return sequence(50, 49)


def running(*sequences: Sequence, max_running: int = 8, max_batch: int = 512) -> Scheduler:
    """A scheduler that believes in 1,000 prompt tokens a second: 100 beside writers, 300 alone."""
    scheduler = Scheduler(max_running, max_batch)
    scheduler.running += sequences
    scheduler.took(1000, 1.0)
    return scheduler


def test_nothing_runs_where_nothing_is() -> None:
    assert running().plan() == []


def test_those_that_write_go_first_and_the_prompt_gets_what_a_tenth_of_a_second_holds() -> None:
    prompt, one, other = sequence(400), writing(), writing()
    assert running(prompt, one, other).plan() == [(one, 1), (other, 1), (prompt, 100)]


def test_while_nobody_writes_a_batch_may_take_three_times_as_long() -> None:
    prompt = sequence(400)
    assert running(prompt).plan() == [(prompt, 300)]


def test_a_prompt_with_a_seed_is_cut_alike_however_fast_the_machine_is() -> None:
    prompt = sequence(400, seed=1)
    scheduler = running(prompt)
    for seconds in (0.1, 100.0):
        scheduler.took(1000, seconds)
        scheduler.took(1000, seconds)
        assert scheduler.plan() == [(prompt, SEEDED_PROMPT_TOKENS)]
    beside = sequence(400)
    assert running(prompt, beside).plan() == [(prompt, 300)]


def test_prompts_are_decoded_first_come_first_served() -> None:
    first, second, third = sequence(200, 50), sequence(500), sequence(40)
    assert running(first, second, third).plan() == [(first, 149), (second, 151)]


def test_the_last_token_of_a_prompt_goes_among_the_writers() -> None:
    scheduler = running(sequence(20))
    [(only, count)] = scheduler.plan()
    only.num_decoded += count
    assert (count, scheduler.plan()) == (19, [(only, 1)])


def test_several_short_prompts_share_a_batch() -> None:
    first, second = sequence(20), sequence(30)
    assert running(first, second).plan() == [(first, 19), (second, 29)]


def test_a_batch_is_never_larger_than_the_model_takes() -> None:
    prompts = [sequence(400), sequence(400)]
    scheduler = running(*[writing() for _ in range(6)], *prompts, max_batch=64)
    assert [count for _, count in scheduler.plan()] == [1] * 6 + [58]
    scheduler.took(100_000, 1.0)
    assert sum(count for _, count in scheduler.plan()) == 64
    crowd = running(*[writing() for _ in range(80)], *prompts, max_running=99, max_batch=64)
    assert [count for _, count in crowd.plan()] == [1] * 64


def test_it_learns_how_fast_prompts_are() -> None:
    prompt, writer = sequence(400), writing()
    scheduler = running(prompt, writer)
    scheduler.took(200, 0.5)
    assert scheduler.plan() == [(writer, 1), (prompt, 40)]
    scheduler.took(200, 0.25)
    assert scheduler.plan() == [(writer, 1), (prompt, 80)]


def test_a_batch_of_a_few_tokens_says_nothing_of_prompts() -> None:
    prompt, writer = sequence(400), writing()
    scheduler = running(prompt, writer)
    scheduler.took(3, 1.0)
    assert scheduler.plan() == [(writer, 1), (prompt, 100)]


def test_however_slow_the_model_is_a_prompt_moves_on() -> None:
    prompt, writer = sequence(400), writing()
    scheduler = running(prompt, writer)
    scheduler.took(16, 60)
    assert scheduler.plan() == [(writer, 1), (prompt, MIN_PROMPT_TOKENS)]
    scheduler.leave(writer)
    assert scheduler.plan() == [(prompt, MIN_PROMPT_TOKENS_ALONE)]


def test_a_batch_that_took_no_time_is_no_division_by_zero() -> None:
    scheduler = running(sequence(400))
    scheduler.took(400, 0.0)
    assert [count for _, count in scheduler.plan()] == [399]


def test_it_looks_at_twice_as_many_as_may_run_and_never_wants_less_than_none() -> None:
    scheduler = running(writing(), max_running=2)
    assert scheduler.num_wanted == 3
    scheduler.waiting += [sequence(1) for _ in range(9)]
    assert scheduler.num_wanted == 0


def test_no_more_run_than_may() -> None:
    scheduler = running(max_running=2)
    scheduler.waiting += [sequence(5), sequence(6), sequence(7)]
    first, second, third = scheduler.waiting
    for each in (first, second):
        assert scheduler.has_place
        scheduler.start(each)
    assert not scheduler.has_place
    assert scheduler.all == [third, first, second]
    scheduler.leave(first)
    assert scheduler.has_place
    scheduler.leave(third)
    assert scheduler.all == [second]


def test_the_youngest_pauses_in_front_of_the_others_until_one_that_goes_on_has_left() -> None:
    old, young, late = writing(), writing(), sequence(9)
    scheduler = running(old, young)
    scheduler.waiting.append(late)
    assert scheduler.pause_youngest() is young
    assert list(scheduler.waiting) == [young, late]
    assert not scheduler.has_place
    scheduler.leave(late)
    assert not scheduler.has_place
    scheduler.leave(old)
    assert scheduler.has_place


def test_a_cleared_scheduler_is_as_new() -> None:
    scheduler = running(writing(), writing())
    scheduler.waiting.append(sequence(9))
    scheduler.pause_youngest()
    scheduler.clear()
    assert scheduler.all == []
    assert scheduler.has_place


def seeing(num_tokens: int, sees_ahead: bool = False) -> tuple[Sequence, Embedded]:
    """One whose prompt of 10 has an image after its first four: five positions, and so many tokens."""
    image = Embedded(ids_of(b"one", 0, 5), np.zeros((num_tokens, 8), np.float32), None, sees_ahead)
    made = sequence(10)
    made.images = {4: image}
    return made, image


def test_a_prompt_is_decoded_up_to_an_image_then_the_image_in_parts_then_the_rest() -> None:
    prompt, _ = seeing(450)
    scheduler = running(prompt)
    assert (scheduler.plan(), scheduler.plan_image()) == ([(prompt, 4)], None)
    prompt.num_decoded = 4
    for size in (300, 150):
        assert (scheduler.plan(), scheduler.plan_image()) == ([], (prompt, size))
        prompt.saw(size)
    assert prompt.num_decoded == 9
    assert (scheduler.plan(), scheduler.plan_image()) == ([(prompt, 1)], None)


def test_beside_those_that_write_the_parts_of_an_image_are_as_small_as_a_prompts() -> None:
    prompt, _ = seeing(450)
    prompt.num_decoded = 4
    writer = writing()
    scheduler = running(prompt, writer)
    assert (scheduler.plan(), scheduler.plan_image()) == ([(writer, 1)], (prompt, 100))


def test_an_image_whose_tokens_see_each_other_is_decoded_at_once() -> None:
    prompt, image = seeing(450, sees_ahead=True)
    prompt.num_decoded = 4
    assert running(prompt, writing()).plan_image() == (prompt, image.num_tokens)
