"""A projector goes with the model whose name it has, and with no other."""

from pathlib import Path

import pytest

from engine_room.catalogue import Catalogue
from engine_room.settings import Settings
from tests.vision_models import write_model, write_projector


def pairs(models: Path, *names: str) -> dict[str, str | None]:
    """Which projector each model in the folder is given."""
    for name in names:
        (models / name).touch()
    files = Catalogue(Settings(_env_file=None, models_dir=models)).chat_files()
    ours = [file for file in files if file.path.parent == models]
    return {file.id: file.mmproj.name if file.mmproj else None for file in ours}


@pytest.mark.parametrize(
    ("model", "projector"),
    [
        ("Qwen2.5-VL-3B-Instruct-Q4_K_M.gguf", "mmproj-Qwen2.5-VL-3B-Instruct-f16.gguf"),
        ("Qwen2.5-VL-3B-Instruct-Q4_K_M.gguf", "mmproj-Qwen2.5-VL-3B-Instruct-Q8_0.gguf"),
        ("google_gemma-3-4b-it-Q4_K_M.gguf", "mmproj-google_gemma-3-4b-it-bf16.gguf"),
        ("gemma-3-4b-it-UD-Q4_K_XL.gguf", "gemma-3-4b-it-mmproj-F16.gguf"),
        ("llava-v1.5-7b-Q4_K.gguf", "llava-v1.5-7b-mmproj-model-f16.gguf"),
        ("big-Q4_0-00001-of-00002.gguf", "mmproj-big.gguf"),
        ("seer.gguf", "mmproj-seer.gguf"),
        ("Seer.gguf", "mmproj-SEER.gguf"),
    ],
)
def test_a_projector_of_the_models_name_is_its_own(
    tmp_path: Path, model: str, projector: str
) -> None:
    found = pairs(tmp_path, model, projector, "other.gguf")
    assert found == {Path(model).stem: projector, "other": None}


def test_a_projector_of_another_models_name_is_nobodys(tmp_path: Path) -> None:
    assert pairs(tmp_path, "seer-7b.gguf", "mmproj-seer-13b.gguf") == {"seer-7b": None}
    assert pairs(tmp_path, "mmproj-seer.gguf") == {"seer-7b": None}


def test_a_projector_without_a_name_is_the_only_models_and_of_several_nobodys(
    tmp_path: Path,
) -> None:
    assert pairs(tmp_path, "one-Q4_0.gguf", "mmproj-model-f16.gguf") == {
        "one-Q4_0": "mmproj-model-f16.gguf"
    }
    assert pairs(tmp_path, "two.gguf") == {"one-Q4_0": None, "two": None}
    assert pairs(tmp_path, "mmproj-two.gguf")["two"] == "mmproj-two.gguf"


def test_of_several_the_first_by_name_is_taken(tmp_path: Path) -> None:
    names = ("x.gguf", "mmproj-x-f16.gguf", "mmproj-x-Q8_0.gguf")
    assert pairs(tmp_path, *names) == {"x": "mmproj-x-Q8_0.gguf"}


def test_a_projector_under_any_name_is_no_chat_model(tmp_path: Path) -> None:
    write_model(tmp_path / "seer.gguf")
    write_projector(tmp_path / "eyes.gguf")
    assert pairs(tmp_path) == {"seer": None}


def test_the_list_of_models_says_which_ones_see(tmp_path: Path) -> None:
    pairs(tmp_path, "seer.gguf", "mmproj-seer.gguf", "blind.gguf")
    listed = Catalogue(Settings(_env_file=None, models_dir=tmp_path)).everything()
    modalities = {model.id: model.input_modalities for model in listed}
    assert modalities["seer"] == ["text", "image"]
    assert modalities["blind"] == modalities["tts-1"] == ["text"]
    assert modalities["whisper-1"] == ["audio"]
