"""A voice is computed once for its clips, and known again."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from engine_room.errors import InvalidRequest
from engine_room.xtts.conditioning import ConditioningCache, kept_of
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
    whole = kept.read_bytes()
    other = save({"latents": np.zeros((3, 5), np.float32), "speaker": np.zeros(7, np.float32)})
    # Half of it, none, a bit of its numbers turned, another file of the format, another format.
    damaged = (whole[:-100], b"", whole[:-1] + b"\x01", other, b"half")
    for num, data in enumerate(damaged, 2):
        kept.write_bytes(data)
        cache = ConditioningCache(tmp_path / "kept", "model", compute)
        assert cache.of([clip]).latents[0, 0] == 1
        assert compute.num == num
        assert kept.read_bytes() == whole


def test_where_nothing_can_be_kept_it_works_all_the_same(tmp_path: Path, clip: Path) -> None:
    (tmp_path / "kept").write_text("a file, where the folder should be")
    cache = ConditioningCache(tmp_path / "kept", "model", Computing())
    assert cache.of([clip]).latents[0, 0] == 1


def test_a_clip_that_is_gone_is_said(tmp_path: Path) -> None:
    cache = ConditioningCache(tmp_path / "kept", "model", Computing())
    with pytest.raises(InvalidRequest, match=r"gone\.wav"):
        cache.of([tmp_path / "gone.wav"])


def test_a_link_is_neither_read_nor_written_through(tmp_path: Path, clip: Path) -> None:
    compute = Computing()
    outside, folder = tmp_path / "outside", tmp_path / "kept"
    outside.mkdir()
    folder.symlink_to(outside)
    assert ConditioningCache(folder, "model", compute).of([clip]).latents[0, 0] == 1
    assert list(outside.iterdir()) == []
    folder.unlink()
    ConditioningCache(folder, "model", compute).of([clip])
    (kept,) = folder.iterdir()
    kept.symlink_to(kept.rename(outside / "kept"))
    ConditioningCache(folder, "model", compute).of([clip])
    assert compute.num == 3
    assert not kept.is_symlink()


def test_what_a_crash_left_half_written_is_gone_at_the_next_start(
    tmp_path: Path, clip: Path
) -> None:
    cache = ConditioningCache(tmp_path / "kept", "model", Computing())
    cache.of([clip])
    (kept,) = (tmp_path / "kept").iterdir()
    (tmp_path / "kept" / f".{kept.name}.0a.partial").write_bytes(b"half")
    (tmp_path / "kept" / ".mine").touch()
    ConditioningCache(tmp_path / "kept", "model", Computing())
    assert {path.name for path in (tmp_path / "kept").iterdir()} == {kept.name, ".mine"}


def test_all_that_is_kept_of_a_voice_is_found_for_every_model(tmp_path: Path, clip: Path) -> None:
    folder, other = tmp_path / "kept", tmp_path / "other.wav"
    other.write_bytes(b"\x05 other")
    assert kept_of(folder, [clip]) == []
    for model in ("one", "two"):
        cache = ConditioningCache(folder, model, Computing())
        cache.of([clip])
        cache.of([other])
        cache.of([clip, other])
    assert len(set(kept_of(folder, [clip]))) == 2
    assert len(list(folder.iterdir())) == 6
    clip.unlink()
    assert kept_of(folder, [clip]) == []
