"""Weights tried against the file they come from, and what is kept of it."""

from pathlib import Path

import pytest

from engine_room.chat.optimizing import Optimizer, Result, types_for
from engine_room.errors import CannotStore, InvalidRequest
from engine_room.installed import unfinished
from tests.permissions import read_only
from tests.vision_models import write_model


def nothing(_num_bytes: int) -> None:
    """Nobody looks."""


def result(perplexity: float, answer_s: float) -> Result:
    return Result("Q8_0", 1, 20.0, perplexity, 3.0, answer_s)


def test_what_is_faster_and_loses_little_is_worth_it() -> None:
    good = result(20.1, 2.0)
    assert good.gain == 1.5
    assert good.loss == pytest.approx(0.005)
    assert good.is_worth_it
    assert not result(20.1, 2.9).is_worth_it
    assert not result(22.0, 1.0).is_worth_it


def test_large_models_are_not_made_larger() -> None:
    assert types_for(100_000_000) == ("Q8_0", "Q4_K_M", "Q4_0")
    assert types_for(4_000_000_000) == ("Q4_K_M", "Q4_0")


def test_what_is_kept_appears_whole_and_the_rest_is_gone(tmp_path: Path) -> None:
    source = write_model(tmp_path / "tiny-F32.gguf")
    with Optimizer(source, "tiny", tmp_path, 1) as optimizer:
        tried = [optimizer.attempt(type_, nothing) for type_ in ("Q8_0", "Q4_0")]
        assert len(unfinished(tmp_path)) == 2
        assert optimizer.keep("Q8_0") == tmp_path / "tiny.Q8_0.gguf"
    assert unfinished(tmp_path) == []
    assert sorted(path.name for path in tmp_path.glob("*.gguf")) == [
        "tiny-F32.gguf",
        "tiny.Q8_0.gguf",
    ]
    assert tried[0].num_bytes == (tmp_path / "tiny.Q8_0.gguf").stat().st_size
    assert [each.perplexity_before for each in tried] == [optimizer.perplexity_before] * 2
    assert abs(tried[0].loss) < abs(tried[1].loss) + 0.01 < 0.1


def test_a_file_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    source = write_model(tmp_path / "tiny.Q8_0.gguf")
    before = source.read_bytes()
    with (
        Optimizer(source, "tiny", tmp_path, 1) as optimizer,
        pytest.raises(InvalidRequest, match="is there already"),
    ):
        optimizer.attempt("Q8_0", nothing)
    assert source.read_bytes() == before


def test_only_what_is_not_there_is_made(tmp_path: Path) -> None:
    source = write_model(tmp_path / "tiny.Q4_K_M.gguf")
    optimizer = Optimizer(source, "tiny", tmp_path, 1)
    assert optimizer.missing(("Q8_0", "Q4_K_M", "Q4_0")) == ["Q8_0", "Q4_0"]
    with pytest.raises(InvalidRequest, match=r"tiny\.Q4_K_M\.gguf is there already"):
        optimizer.missing(("Q4_K_M",))


def test_the_folder_of_models_need_not_be_there(tmp_path: Path) -> None:
    source = write_model(tmp_path / "tiny.gguf")
    with Optimizer(source, "tiny", tmp_path / "models", 1) as optimizer:
        optimizer.attempt("Q8_0", nothing)
        assert optimizer.keep("Q8_0").is_file()


def test_a_folder_that_takes_nothing_is_said(tmp_path: Path) -> None:
    source = write_model(tmp_path / "tiny.gguf")
    with (
        Optimizer(source, "tiny", tmp_path, 1) as optimizer,
        read_only(tmp_path),
        pytest.raises(CannotStore, match=r"tiny\.Q8_0\.gguf cannot be written: Permission denied"),
    ):
        optimizer.attempt("Q8_0", nothing)


def test_nothing_is_left_of_an_attempt_that_failed(tmp_path: Path) -> None:
    source = write_model(tmp_path / "tiny.gguf")
    with Optimizer(source, "no/such", tmp_path, 1) as optimizer:
        optimizer.attempt("Q8_0", nothing)
        with pytest.raises(CannotStore):
            optimizer.keep("Q8_0")
    assert unfinished(tmp_path) == []
