"""Who computes alone has all cores; several share them."""

import pytest

from engine_room.cores import Cores, num_usable_cores


@pytest.mark.parametrize("total", [1, 2, 8])
def test_whoever_is_alone_has_all_cores(total: int) -> None:
    cores = Cores(total)
    with cores.working("chat"):
        assert cores.share("chat") == total


def test_two_share_while_both_work_and_the_one_that_stays_has_all_again() -> None:
    cores = Cores(8)
    with cores.working("chat"):
        with cores.working("transcription"):
            assert (cores.share("chat"), cores.share("transcription")) == (4, 4)
        assert cores.share("chat") == 8


def test_what_a_part_does_not_want_is_left_to_the_others() -> None:
    cores = Cores(8)
    with cores.working("chat"), cores.working("speech", 1):
        assert (cores.share("chat"), cores.share("speech")) == (7, 1)
        with cores.working("transcription"):
            both = cores.share("chat") + cores.share("transcription")
            assert (both, cores.share("speech")) == (7, 1)


def test_everybody_has_a_thread_however_few_cores_there_are() -> None:
    cores = Cores(2)
    with cores.working("chat"), cores.working("speech", 1), cores.working("transcription"):
        assert [cores.share(part) for part in ("chat", "speech", "transcription")] == [1, 1, 1]


def test_who_does_not_work_has_no_share() -> None:
    cores = Cores(2)
    cores.start("chat")
    cores.stop("chat")
    cores.stop("chat")
    with pytest.raises(ValueError, match="chat does not work"):
        cores.share("chat")


def test_a_part_that_fails_works_no_more() -> None:
    cores = Cores(2)
    with pytest.raises(ZeroDivisionError), cores.working("speech", 1):
        _ = 1 / 0
    with cores.working("chat"):
        assert cores.share("chat") == 2


def test_the_real_machine_has_cores() -> None:
    assert Cores().total == num_usable_cores() >= 1
