"""What holds for every model on llama.cpp: a file it cannot use is said, and ends nothing."""

from pathlib import Path

import pytest

from engine_room.errors import Unavailable
from engine_room.llama_library import load_model
from tests.embedding_models import write_causal


@pytest.mark.parametrize("what", ["chat model", "embedding model"])
def test_a_file_that_is_no_model_is_said_with_llama_cpps_reason(tmp_path: Path, what: str) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"GGUF")
    with pytest.raises(Unavailable, match=rf"The {what} broken.gguf cannot be loaded: \w.*GGUF"):
        load_model(path, what)


def test_the_reason_is_that_of_this_file_and_not_of_the_one_before(tmp_path: Path) -> None:
    for name in ("first.gguf", "second.gguf"):
        with pytest.raises(Unavailable) as caught:
            load_model(tmp_path / name, "chat model")
    assert "second.gguf" in caught.value.message
    assert "first.gguf" not in caught.value.message


def test_a_model_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    path = write_causal(tmp_path / "mute.gguf", tokenizer="none")
    with pytest.raises(Unavailable, match=r"chat model mute.gguf has no tokenizer"):
        load_model(path, "chat model")
