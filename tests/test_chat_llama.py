"""The real bundled model: tokens, memory, sampling."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from engine_room.catalogue import Catalogue
from engine_room.chat_llama import MAX_BATCH_TOKENS, LlamaModel
from engine_room.chat_turn import Sampling
from engine_room.errors import Unavailable
from engine_room.settings import Settings

GREEDY = Sampling(0, 0.95, 40, 0.05, 1.0, 0, 0, -1)
RANDOM = replace(GREEDY, temperature=1.0, seed=7)
TEXTS = ["Hello", "", " two  spaces\n", "Ünïcödé 漢字 🙂👩‍👩‍👧", "a\0b", "1 + 1 = 2", "\ttab"]


@pytest.fixture(scope="module")
def path() -> Path:
    return Catalogue(Settings(_env_file=None)).chat("smollm2-135m-instruct").path


@pytest.fixture(scope="module")
def model(path: Path) -> Iterator[LlamaModel]:
    model = LlamaModel(path, max_context_tokens=700, num_threads=1)
    yield model
    model.close()


def continued(model: LlamaModel, prompt: str, sampling: Sampling, num_tokens: int) -> list[int]:
    """The next tokens after a prompt."""
    model.forget()
    sampler = model.sampler(sampling)
    tokens: list[int] = []
    batch = model.tokenize(prompt)
    for _ in range(num_tokens):
        model.decode(batch)
        batch = [sampler.sample()]
        tokens += batch
    sampler.close()
    return tokens


def text_of(model: LlamaModel, tokens: list[int]) -> str:
    return b"".join(map(model.piece, tokens)).decode("utf-8", "replace")


@pytest.mark.parametrize("text", TEXTS)
def test_tokens_stand_for_exactly_the_text_they_were_made_from(
    model: LlamaModel, text: str
) -> None:
    assert text_of(model, model.tokenize(text)) == text


def test_control_tokens_are_recognised_and_have_no_text(model: LlamaModel) -> None:
    end = model.tokenize("<|im_end|>")
    assert len(end) == 1
    assert model.is_end(end[0])
    assert model.piece(end[0]) == b""
    assert not model.is_end(model.tokenize("Hello")[0])


def test_the_file_brings_its_template_and_its_end_token(model: LlamaModel) -> None:
    assert "<|im_start|>" in model.template
    assert model.eos_text == "<|im_end|>"
    assert model.bos_text == "<|im_start|>"


def test_the_context_is_what_was_asked_for_or_what_the_model_was_trained_on(
    model: LlamaModel, path: Path
) -> None:
    assert model.num_context_tokens == 700
    large = LlamaModel(path, max_context_tokens=100_000, num_threads=1)
    assert large.num_context_tokens == 8192
    large.close()


def test_at_temperature_zero_the_model_says_what_is_likeliest(model: LlamaModel) -> None:
    tokens = continued(model, "The capital of France is", GREEDY, 2)
    assert text_of(model, tokens) == " Paris."
    assert tokens == continued(model, "The capital of France is", GREEDY, 2)


def test_the_same_seed_gives_the_same_tokens_and_another_one_others(model: LlamaModel) -> None:
    first = continued(model, "Once upon a time", RANDOM, 12)
    assert continued(model, "Once upon a time", RANDOM, 12) == first
    assert continued(model, "Once upon a time", replace(RANDOM, seed=8), 12) != first


def test_without_a_seed_every_answer_is_another(model: LlamaModel) -> None:
    anyhow = replace(RANDOM, seed=-1, temperature=2.0, top_k=0, top_p=1, min_p=0)
    answers = {tuple(continued(model, "Once upon a time", anyhow, 8)) for _ in range(3)}
    assert len(answers) == 3


def test_a_seed_larger_than_32_bits_is_a_seed_like_any_other(model: LlamaModel) -> None:
    sampling = replace(RANDOM, seed=2**70 + 7)
    assert continued(model, "Once", sampling, 3) == continued(model, "Once", sampling, 3)


def test_top_k_of_one_leaves_only_the_likeliest(model: LlamaModel) -> None:
    narrow = replace(RANDOM, top_k=1, temperature=100)
    assert continued(model, "One two three", narrow, 5) == continued(
        model, "One two three", GREEDY, 5
    )


def test_penalties_end_a_repetition(model: LlamaModel) -> None:
    prompt = "ha ha ha ha ha ha ha ha ha"
    plain = continued(model, prompt, GREEDY, 12)
    punished = continued(model, prompt, replace(GREEDY, frequency_penalty=2.0), 12)
    assert len(set(plain)) < len(set(punished))


def test_what_was_forgotten_leaves_no_trace(model: LlamaModel) -> None:
    fresh = continued(model, "The sky is", GREEDY, 4)
    prompt = model.tokenize("The sky is")
    model.forget()
    model.decode(prompt)
    model.decode(model.tokenize(" full of bees and"))
    model.forget(len(prompt) - 1)
    sampler = model.sampler(GREEDY)
    tokens: list[int] = []
    batch = prompt[-1:]
    for _ in range(4):
        model.decode(batch)
        batch = [sampler.sample()]
        tokens += batch
    sampler.close()
    assert tokens == fresh


def test_a_full_batch_can_be_decoded_and_a_context_overrun_is_an_error(model: LlamaModel) -> None:
    model.forget()
    tokens = (model.tokenize("word " * 600))[:MAX_BATCH_TOKENS]
    model.decode(tokens)
    with pytest.raises(RuntimeError, match="llama_decode returned"):
        model.decode(tokens)


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGUF\x03\0\0\0" + bytes(100), b"<html>"])
def test_a_broken_file_is_unavailable_and_named(tmp_path: Path, content: bytes) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(content)
    with pytest.raises(Unavailable) as caught:
        LlamaModel(broken, 512, 1)
    assert "The chat model broken.gguf cannot be loaded" in caught.value.reason
    assert "gives no reason" not in caught.value.reason
    assert "broken.gguf" in (caught.value.mend or "")


def test_a_half_downloaded_file_is_unavailable(tmp_path: Path, path: Path) -> None:
    half = tmp_path / "half.gguf"
    with path.open("rb") as source:
        half.write_bytes(source.read(20_000_000))
    with pytest.raises(Unavailable, match=r"half\.gguf cannot be loaded"):
        LlamaModel(half, 512, 1)


def test_a_missing_file_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"gone\.gguf cannot be loaded"):
        LlamaModel(tmp_path / "gone.gguf", 512, 1)
