"""A voice is computed once for its clips, and known again."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from engine_room.errors import InvalidRequest
from engine_room.xtts.conditioning import ConditioningCache
from engine_room.xtts.gpt import Conditioning


class Computing:
    """Counts, and makes of clips what their first byte says."""

    def __init__(self) -> None:
        self.num = 0

    def __call__(self, clips: Sequence[Path]) -> Conditioning:
        self.num += 1
        value = clips[0].read_bytes()[0]
        return Conditioning(np.full((32, 8), value, np.float32), np.full(512, value, np.float32))


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "me.wav"
    path.write_bytes(b"\x01 one")
    return path


def test_it_is_computed_once_also_for_the_next_server(tmp_path: Path, clip: Path) -> None:
    compute = Computing()
    for _ in range(2):
        cache = ConditioningCache(tmp_path / "kept", "model", compute)
        for _ in range(2):
            assert cache.of([clip]).latents[0, 0] == 1
    assert compute.num == 1


def test_a_clip_recorded_anew_and_another_model_are_computed_anew(
    tmp_path: Path, clip: Path
) -> None:
    compute = Computing()
    cache = ConditioningCache(tmp_path / "kept", "model", compute)
    cache.of([clip])
    clip.write_bytes(b"\x02 two!")
    assert cache.of([clip]).speaker[0] == 2
    ConditioningCache(tmp_path / "kept", "other model", compute).of([clip])
    assert compute.num == 3


def test_a_renamed_clip_is_known(tmp_path: Path, clip: Path) -> None:
    compute = Computing()
    cache = ConditioningCache(tmp_path / "kept", "model", compute)
    cache.of([clip])
    cache.of([clip.rename(tmp_path / "you.wav")])
    assert compute.num == 1


def test_what_is_broken_on_disk_is_computed_again(tmp_path: Path, clip: Path) -> None:
    compute = Computing()
    ConditioningCache(tmp_path / "kept", "model", compute).of([clip])
    (kept,) = (tmp_path / "kept").iterdir()
    kept.write_bytes(b"half")
    assert ConditioningCache(tmp_path / "kept", "model", compute).of([clip]).latents[0, 0] == 1
    assert compute.num == 2


def test_where_nothing_can_be_kept_it_works_all_the_same(tmp_path: Path, clip: Path) -> None:
    (tmp_path / "kept").write_text("a file, where the folder should be")
    cache = ConditioningCache(tmp_path / "kept", "model", Computing())
    assert cache.of([clip]).latents[0, 0] == 1


def test_a_clip_that_is_gone_is_said(tmp_path: Path) -> None:
    cache = ConditioningCache(tmp_path / "kept", "model", Computing())
    with pytest.raises(InvalidRequest, match=r"gone\.wav"):
        cache.of([tmp_path / "gone.wav"])
