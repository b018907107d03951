"""The number of threads that writes fastest is found, and found again when the machine changes."""

from collections.abc import Callable

import pytest

from engine_room.chat.pace import MAX_TOKENS, MAX_TRY_AFTER, Pace


def choices(
    pace: Pace,
    seconds: Callable[[int], float],
    num_batches: int,
    num_tokens: int = 1,
    most: int = 8,
    num_free_cores: int = 8,
) -> list[int]:
    """The threads of so many batches on a machine that takes so long with each number of them, and gives
    this process no more than so many cores."""
    chosen = []
    for _ in range(num_batches):
        threads = pace.num_threads(num_tokens, most)
        took_s = seconds(threads)
        pace.took(num_tokens, threads, took_s, took_s * min(threads, num_free_cores))
        chosen.append(threads)
    return chosen


def scales(threads: int) -> float:
    return 1 / threads


def stumbles_above(best: int) -> Callable[[int], float]:
    """A machine on which each thread helps up to a number, and more of them wait for each other."""
    return lambda threads: 1 / threads if threads <= best else 2.0


def test_where_every_thread_helps_nearly_all_batches_have_all() -> None:
    assert choices(Pace(), scales, 1000).count(8) > 850
    assert choices(Pace(), lambda threads: 0.01 / threads**2, 10 * MAX_TRY_AFTER).count(8) > 6300


@pytest.mark.parametrize("best", range(1, 9))
def test_the_best_number_is_found_from_above_and_kept(best: int) -> None:
    pace = Pace()
    choices(pace, lambda threads: abs(threads - best) + 1, 600)
    assert choices(pace, lambda threads: abs(threads - best) + 1, 400).count(best) > 300


def test_a_core_that_is_taken_and_given_back_is_noticed() -> None:
    pace = Pace()
    choices(pace, stumbles_above(2), 2000, most=2)
    taken = choices(pace, stumbles_above(1), 200, most=2, num_free_cores=1)
    assert taken[-100:].count(1) > 80
    choices(pace, stumbles_above(1), 2000, most=2, num_free_cores=1)
    assert choices(pace, scales, MAX_TRY_AFTER + 200, most=2)[-100:].count(2) > 80


def test_what_is_far_worse_is_hardly_tried_while_the_cores_are_free() -> None:
    pace = Pace()
    choices(pace, lambda threads: 0.01 / threads**2, 3 * MAX_TRY_AFTER)
    slower = choices(pace, lambda threads: 0.02 / threads**2, MAX_TRY_AFTER)  # longer conversations
    assert slower.count(8) >= MAX_TRY_AFTER - 6


def test_each_size_of_batch_has_its_own_best() -> None:
    pace = Pace()
    for _ in range(10):
        choices(pace, stumbles_above(1), 40, num_tokens=1, most=2)
        choices(pace, scales, 40, num_tokens=8, most=2)
    assert choices(pace, stumbles_above(1), 40, num_tokens=1, most=2).count(1) > 30
    assert choices(pace, scales, 40, num_tokens=8, most=2).count(2) > 30


def test_prompts_have_all_threads_and_one_thread_is_never_none() -> None:
    pace = Pace()
    assert set(choices(pace, stumbles_above(1), 99, num_tokens=MAX_TOKENS + 1)) == {8}
    assert set(choices(pace, scales, 99, most=1)) == {1}


def test_a_smaller_share_is_kept_to_and_the_best_comes_back_with_it() -> None:
    pace = Pace()
    choices(pace, scales, 200)
    assert max(choices(pace, scales, 200, most=4)) == 4
    assert 8 in choices(pace, scales, 40)
