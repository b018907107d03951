"""Sound that cannot be what the text says is seen, and cut where it is quiet."""

import numpy as np
import pytest
from numpy.typing import NDArray

from engine_room.xtts.guard import Fault, cut, is_one_breath, length_fault, mended, tail_begin
from engine_room.xtts.pace import Expected

RATE_HZ = 24_000
TWO_SECONDS = Expected(1.0, 2.0, 4.4)


def sound(*parts: float) -> NDArray[np.float32]:
    """Seconds of speech and of silence in turn."""
    rng = np.random.default_rng(1)
    pieces = [
        rng.standard_normal(round(seconds * RATE_HZ), np.float32) * (0.001 if i % 2 else 0.2)
        for i, seconds in enumerate(parts)
    ]
    return np.concatenate(pieces).astype(np.float32)


@pytest.mark.parametrize(
    "parts",
    [
        (2.0,),
        (2.0, 0.3),
        (0.8, 0.3, 1.1),  # a comma
        (0.7, 0.6, 1.2),  # a long breath in the middle
    ],
)
def test_a_pause_is_no_fault(parts: tuple[float, ...]) -> None:
    assert tail_begin(sound(*parts), RATE_HZ, TWO_SECONDS) is None
    assert length_fault(sum(parts), TWO_SECONDS, has_ended=True) is None


def test_what_never_ended_ran_on_and_half_a_text_is_too_short() -> None:
    assert length_fault(4.4, TWO_SECONDS, has_ended=False) is Fault.RAN_ON
    assert length_fault(0.5, TWO_SECONDS, has_ended=True) is Fault.TOO_SHORT


def test_a_tail_begins_where_the_pause_does() -> None:
    begin = tail_begin(sound(1.9, 0.6, 0.5), RATE_HZ, TWO_SECONDS)
    assert begin is not None
    assert begin / RATE_HZ == pytest.approx(1.9, abs=0.03)


def test_only_what_is_said_in_one_breath_can_have_a_tail() -> None:
    for text in ("Hello there.", "She has no idea of it at all!", "你好"):
        assert is_one_breath(text)
    for text in ("One. And two.", "Well, yes.", "He said: no", "一，二。"):
        assert not is_one_breath(text)


def test_a_fault_is_mended_and_nothing_else_is_touched() -> None:
    said = sound(1.9, 0.6, 0.5)
    assert mended(said, RATE_HZ, None, None) is said
    assert mended(said, RATE_HZ, Fault.TOO_SHORT, None) is said
    assert len(mended(said, RATE_HZ, Fault.RAN_ON, None)) < len(said)
    kept = mended(said, RATE_HZ, Fault.INVENTED_TAIL, 45_600)
    assert (len(kept), kept[-1]) == (45_600, 0)


def test_silence_has_no_tail() -> None:
    assert tail_begin(np.zeros(48_000, np.float32), RATE_HZ, TWO_SECONDS) is None


def test_a_cut_is_made_where_it_is_quiet_and_ends_in_nothing() -> None:
    kept = cut(sound(3.0, 0.1, 0.5), RATE_HZ)
    assert len(kept) / RATE_HZ == pytest.approx(3.06, abs=0.06)
    assert abs(kept[-1]) < 1e-6
    assert len(cut(np.zeros(10, np.float32), RATE_HZ)) == 10
