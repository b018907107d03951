"""Who computes alone has all cores; several share them, and leave other programs theirs."""

import pytest

from engine_room.cores import LOOK_S, Cores, busy_elsewhere_s, num_usable_cores


class World:
    """A clock and the other programs: the time runs only when it is told to."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.busy_s = 5000.0
        self.num_looks = 0

    def clock(self) -> float:
        return self.now_s

    def elsewhere_s(self) -> float:
        self.num_looks += 1
        return self.busy_s

    def pass_s(self, seconds: float, num_busy_cores: float = 0) -> None:
        self.now_s += seconds
        self.busy_s += seconds * num_busy_cores


def cores_of(world: World, total: int) -> Cores:
    return Cores(total, world.elsewhere_s, world.clock)


def shares_over(
    cores: Cores, world: World, part: str, seconds: float, num_busy_cores: float
) -> list[int]:
    """The shares at each step of 10 ms while other programs keep so many cores busy."""
    shares = []
    for _ in range(round(seconds / 0.01)):
        world.pass_s(0.01, num_busy_cores)
        shares.append(cores.share(part))
    return shares


@pytest.mark.parametrize("total", [1, 2, 8])
def test_whoever_is_alone_has_all_cores(total: int) -> None:
    cores = cores_of(World(), total)
    with cores.working("chat"):
        assert cores.share("chat") == total


def test_two_share_while_both_work_and_the_one_that_stays_has_all_again() -> None:
    cores = cores_of(World(), 8)
    with cores.working("chat"):
        with cores.working("transcription"):
            assert (cores.share("chat"), cores.share("transcription")) == (4, 4)
        assert cores.share("chat") == 8


def test_what_a_part_does_not_want_is_left_to_the_others() -> None:
    cores = cores_of(World(), 8)
    with cores.working("chat"), cores.working("speech", 1):
        assert (cores.share("chat"), cores.share("speech")) == (7, 1)
        with cores.working("transcription"):
            both = cores.share("chat") + cores.share("transcription")
            assert (both, cores.share("speech")) == (7, 1)


def test_everybody_has_a_thread_however_few_cores_there_are() -> None:
    cores = cores_of(World(), 2)
    with cores.working("chat"), cores.working("speech", 1), cores.working("transcription"):
        assert [cores.share(part) for part in ("chat", "speech", "transcription")] == [1, 1, 1]


def test_who_does_not_work_has_no_share() -> None:
    cores = cores_of(World(), 2)
    cores.start("chat")
    cores.stop("chat")
    cores.stop("chat")
    with pytest.raises(ValueError, match="chat does not work"):
        cores.share("chat")


def test_a_part_that_fails_works_no_more() -> None:
    cores = cores_of(World(), 2)
    with pytest.raises(ZeroDivisionError), cores.working("speech", 1):
        _ = 1 / 0
    with cores.working("chat"):
        assert cores.share("chat") == 2


def test_busy_programs_keep_their_cores_within_half_a_second_and_give_them_back() -> None:
    world = World()
    cores = cores_of(world, 8)
    cores.start("chat")
    assert set(shares_over(cores, world, "chat", 3, 0)) == {8}
    assert shares_over(cores, world, "chat", 0.5, 1)[-1] == 7
    assert shares_over(cores, world, "chat", 2, 3)[-1] == 5
    assert shares_over(cores, world, "chat", 3, 20)[-1] == 1
    assert shares_over(cores, world, "chat", 3, 0)[-1] == 8


def test_a_blip_and_a_little_load_cost_nothing() -> None:
    world = World()
    cores = cores_of(world, 2)
    cores.start("chat")
    assert set(shares_over(cores, world, "chat", 2, 0)) == {2}
    assert set(shares_over(cores, world, "chat", 0.1, 1)) == {2}
    assert set(shares_over(cores, world, "chat", 2, 0.12)) == {2}


def test_a_load_that_sways_does_not_flip_the_share() -> None:
    world = World()
    cores = cores_of(world, 2)
    cores.start("chat")
    shares_over(cores, world, "chat", 2, 1)
    for load in (0.2, 0.4, 0.2, 0.6) * 3:
        assert set(shares_over(cores, world, "chat", 0.5, load)) == {1}


def test_after_a_pause_its_load_counts_and_not_what_was_before() -> None:
    world = World()
    cores = cores_of(world, 2)
    cores.start("chat")
    shares_over(cores, world, "chat", 2, 1)
    cores.stop("chat")
    world.pass_s(600, 0)
    cores.start("chat")
    assert cores.share("chat") == 2
    world.pass_s(600, 1)
    assert cores.share("chat") == 1


def test_the_machine_is_looked_at_a_few_times_a_second_only() -> None:
    world = World()
    cores = cores_of(world, 2)
    cores.start("chat")
    shares_over(cores, world, "chat", 10, 0)
    assert world.num_looks <= 1 + 10 / LOOK_S


def test_the_real_machine_has_cores_and_a_load() -> None:
    first = busy_elsewhere_s()
    assert busy_elsewhere_s() >= first - 1
    cores = Cores()
    with cores.working("chat"):
        assert 1 <= cores.share("chat") <= cores.total == num_usable_cores()
