"""A model folder is made ready to speak, whatever the folder and the device are."""

import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from engine_room.errors import Unavailable
from engine_room.folders import sha256_of
from engine_room.settings import Settings
from engine_room.xtts.folder import XttsFolder
from engine_room.xtts.model import XttsModel
from tests.permissions import read_only

pytest.importorskip("TTS", reason="voice cloning is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    for name in ("models", "voice_clones"):
        (tmp_path / name).mkdir()
    return Settings(
        models_dir=tmp_path / "models",
        voice_clones_dir=tmp_path / "voice_clones",
        xtts_gpt_type="f32",
    )


@pytest.fixture
def mounted(xtts_folder: XttsFolder, tmp_path: Path) -> Iterator[XttsFolder]:
    """A copy of the model as somebody gave it, in a folder that nobody may write to."""
    path = tmp_path / "mounted" / "xtts_v2"
    shutil.copytree(xtts_folder.path, path, ignore=shutil.ignore_patterns("converted"))
    with read_only(path):
        with pytest.raises(PermissionError):
            (path / "converted").mkdir()
        yield XttsFolder(path)


def loaded(folder: XttsFolder, settings: Settings) -> list[str]:
    """Load it; what was done meanwhile."""
    progress: list[str] = []
    model = XttsModel(folder, settings, 2, progress.append)
    assert model.speakers
    model.close()
    return progress


def test_a_folder_that_cannot_be_written_is_converted_once_into_a_folder_of_the_servers(
    mounted: XttsFolder, settings: Settings
) -> None:
    files = sorted(mounted.path.rglob("*"))
    assert any("converted" in doing for doing in loaded(mounted, settings))
    place = settings.models_dir / ".converted" / sha256_of(mounted.checkpoint)[:16]
    made = {path.name: path.stat().st_mtime_ns for path in place.iterdir()}
    assert set(made) == {"gpt.gguf", "vocoder.onnx", "made-from.json"}
    assert not any("converted" in doing for doing in loaded(mounted, settings))
    assert {path.name: path.stat().st_mtime_ns for path in place.iterdir()} == made
    assert sorted(mounted.path.rglob("*")) == files


def test_where_nothing_can_be_written_both_places_are_named(
    mounted: XttsFolder, settings: Settings
) -> None:
    with read_only(settings.models_dir), pytest.raises(Unavailable) as caught:
        loaded(mounted, settings)
    why = rf"neither into {mounted.converted} \(Permission denied\) nor {settings.models_dir}/\.converted"
    assert caught.match(why)
    assert caught.value.mend
    assert f"{mounted.path} or {settings.models_dir} writable" in caught.value.mend
    assert list(settings.models_dir.iterdir()) == []


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library decides")
def test_a_closed_model_gives_its_memory_back_to_the_system(
    xtts_folder: XttsFolder, settings: Settings
) -> None:
    model = XttsModel(xtts_folder, settings, 2, lambda doing: None)
    size = xtts_folder.checkpoint.stat().st_size
    before = psutil.Process().memory_info().rss
    model.close()
    assert before - psutil.Process().memory_info().rss > size / 2
