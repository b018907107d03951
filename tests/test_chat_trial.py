"""What models are worth, against figures that are known, or computed another way."""

from pathlib import Path

import llama_cpp
import numpy as np
import pytest

from engine_room.chat.trial import TEXT, UNSCORED_TOKENS, WINDOW_TOKENS, Trial
from engine_room.errors import Unavailable
from tests.vision_models import CONTROL, write_model


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write_model(tmp_path / "tiny.gguf")


def test_the_perplexity_is_that_of_the_librarys_own_logits(tiny: Path) -> None:
    trial = Trial(tiny, 1)
    found = trial.perplexity()
    trial.close()
    model = llama_cpp.Llama(
        str(tiny), n_ctx=WINDOW_TOKENS, logits_all=True, n_threads=1, verbose=False
    )
    tokens = model.tokenize(TEXT.read_bytes(), add_bos=False)
    losses = []
    for begin in range(0, len(tokens), WINDOW_TOKENS - 1):
        window = [model.token_bos(), *tokens[begin : begin + WINDOW_TOKENS - 1]]
        model.reset()  # type: ignore[no-untyped-call]
        model.eval(window)
        logits = np.array(model.scores[: len(window)], np.float64)
        logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
        losses += [-logits[at - 1, window[at]] for at in range(UNSCORED_TOKENS, len(window))]
    model.close()
    assert found == pytest.approx(np.exp(np.mean(losses)), rel=0.001)


def test_a_model_of_random_weights_knows_nothing(tiny: Path) -> None:
    trial = Trial(tiny, 1)
    num_tokens = 256 + len(CONTROL)
    assert 0.5 * num_tokens < trial.perplexity() < 2 * num_tokens
    assert trial.perplexity() == trial.perplexity()  # nothing is left of the time before
    assert trial.answer_s() > 0
    trial.close()


def test_what_is_no_model_of_texts_is_refused(tmp_path: Path) -> None:
    (tmp_path / "note.gguf").write_text("This is a note.")
    with pytest.raises(Unavailable, match=r"note\.gguf cannot be loaded"):
        Trial(tmp_path / "note.gguf", 1)


def test_the_text_is_plain_and_has_lines() -> None:
    text = TEXT.read_text(encoding="utf-8")
    assert 7_000 < len(text) < 10_000
    assert "\r" not in text
