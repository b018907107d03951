"""Watches over what XTTS says: it sometimes goes on after the text is over, or stops before.

Known of the model: words invented after very short texts and closing quotes, endless noise. Texts are written
so that it happens less (see `text`); what still happens is seen by the length and the energy of the sound.
"""

from enum import Enum
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from engine_room.xtts.pace import PAUSE, Expected

Floats = NDArray[np.float32]
FRAME_S = 0.02
# Relative to the loudest frame; breath and room are below.
QUIET = 0.03
ENDS = ".!?…。！？।؟ "
# A pause this long in a text of one breath, after all of it can have been said, is where inventions begin.
LONG_PAUSE_S = 0.45
# After so much of the likely time a sentence can be over: some voices are quick.
CAN_BE_OVER = 0.8
CUT_WINDOW_S = 1.5
FADE_S = 0.03


class Fault(Enum):
    """What may be wrong with a sentence's sound."""

    RAN_ON = "did not end by itself"
    TOO_SHORT = "ended too early"
    INVENTED_TAIL = "said more than its text"


def length_fault(seconds: float, expected: Expected, has_ended: bool) -> Fault | None:
    """What is wrong with a sentence that is so long at speed 1; None when nothing is seen."""
    if not has_ended:
        return Fault.RAN_ON
    return Fault.TOO_SHORT if seconds < expected.min_s else None


def is_one_breath(text: str) -> bool:
    """False for a text that has a pause in it: where a slow voice makes that, more of the text may follow."""
    return not PAUSE.search(text.rstrip().rstrip(ENDS))


def tail_begin(sound: Floats, rate_hz: int, expected: Expected) -> int | None:
    """The sample of a whole sentence, float32, -1…1, where a long pause begins after which more is said
    than the text has; None when nothing is seen."""
    is_quiet = _levels(sound, rate_hz) < QUIET
    num_pause = round(LONG_PAUSE_S / FRAME_S)
    loud = np.flatnonzero(~is_quiet)
    if not len(loud):
        return None
    for before, after in pairwise(loud):
        if after - before > num_pause and before * FRAME_S >= CAN_BE_OVER * expected.likely_s:
            return int((before + 1) * FRAME_S * rate_hz)
    return None


def mended(sound: Floats, rate_hz: int, fault: Fault | None, tail: int | None) -> Floats:
    """What is kept of a sentence with this fault, and with a tail that begins at this sample."""
    if fault is Fault.RAN_ON:
        return cut(sound, rate_hz)
    return sound if tail is None else faded(sound[:tail], rate_hz)


def cut(sound: Floats, rate_hz: int) -> Floats:
    """Sound that ran on, ended at its quietest moment near the end, faded out."""
    window = min(len(sound), round(CUT_WINDOW_S * rate_hz))
    start = len(sound) - window
    levels = _levels(sound[start:], rate_hz)
    end = (
        start + round((int(np.argmin(levels)) + 1) * FRAME_S * rate_hz)
        if len(levels)
        else len(sound)
    )
    return faded(sound[:end], rate_hz)


def faded(sound: Floats, rate_hz: int) -> Floats:
    """The sound, its end faded out."""
    num_samples = min(round(FADE_S * rate_hz), len(sound))
    sound = sound.copy()
    sound[len(sound) - num_samples :] *= np.linspace(1, 0, num_samples, dtype=np.float32)
    return sound


def _levels(sound: Floats, rate_hz: int) -> Floats:
    """How loud each frame is, of the loudest one."""
    size = round(FRAME_S * rate_hz)
    frames = sound[: len(sound) // size * size].reshape(-1, size)
    levels: Floats = np.sqrt((frames**2).mean(1))
    return levels / max(float(levels.max(initial=0)), 1e-9)
