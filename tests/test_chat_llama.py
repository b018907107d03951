"""The real bundled model: tokens, memory, sampling."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine_room.catalogue import Catalogue
from engine_room.chat.llama import MAX_BATCH_TOKENS, LlamaModel, Slice
from engine_room.chat.turn import Sampling
from engine_room.errors import Unavailable
from engine_room.settings import Settings

GREEDY = Sampling(0, 0.95, 40, 0.05, 1.0, 0, 0, -1)
NUM_IDS = 4
TEXTS = ["Hello", "", " two  spaces\n", "Ünïcödé 漢字 🙂👩‍👩‍👧", "a\0b", "1 + 1 = 2", "\ttab"]


@pytest.fixture(scope="module")
def path() -> Path:
    return Catalogue(Settings(_env_file=None)).chat("smollm2-135m-instruct").path


@pytest.fixture(scope="module")
def model(path: Path) -> Iterator[LlamaModel]:
    model = LlamaModel(path, max_context_tokens=700, num_sequences=NUM_IDS, num_threads=1)
    yield model
    model.close()


@pytest.fixture(autouse=True)
def _empty_memory(model: LlamaModel) -> None:
    for seq_id in range(NUM_IDS):
        model.forget(seq_id)


def went_on(
    model: LlamaModel,
    tokens: list[int],
    sampling: Sampling,
    num_tokens: int,
    seq_id: int = 0,
    position: int = 0,
) -> list[int]:
    """The next tokens of a sequence after some more of its tokens, at this position."""
    sampler = model.sampler(sampling)
    drawn: list[int] = []
    for _ in range(num_tokens):
        assert model.decode([Slice(seq_id, position, tokens, wants_logits=True)])
        position += len(tokens)
        tokens = [sampler.sample(len(tokens) - 1)]
        drawn += tokens
    sampler.close()
    return drawn


def continued(model: LlamaModel, prompt: str, sampling: Sampling, num_tokens: int) -> list[int]:
    """The next tokens after a prompt."""
    model.forget(0)
    return went_on(model, model.tokenize(prompt), sampling, num_tokens)


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
    large = LlamaModel(path, max_context_tokens=100_000, num_sequences=1, num_threads=1)
    assert large.num_context_tokens == 8192
    assert large.num_pool_tokens == 2 * 8192
    large.close()


def test_at_temperature_zero_the_model_says_what_is_likeliest(model: LlamaModel) -> None:
    tokens = continued(model, "The capital of France is", GREEDY, 2)
    assert text_of(model, tokens) == " Paris."
    assert tokens == continued(model, "The capital of France is", GREEDY, 2)


def test_what_was_forgotten_leaves_no_trace(model: LlamaModel) -> None:
    fresh = continued(model, "The sky is", GREEDY, 4)
    prompt = model.tokenize("The sky is")
    model.forget(0)
    more = model.tokenize(" full of bees and")
    assert model.decode([Slice(0, 0, prompt + more, wants_logits=False)])
    model.forget(0, len(prompt) - 1)
    assert went_on(model, prompt[-1:], GREEDY, 4, position=len(prompt) - 1) == fresh


def test_several_sequences_in_one_batch_know_nothing_of_each_other(model: LlamaModel) -> None:
    prompts = ["The capital of France is", "1, 2, 3, 4,", "The sky is"]
    alone = [continued(model, prompt, GREEDY, 1)[0] for prompt in prompts]
    model.forget(0)
    tokens = [model.tokenize(prompt) for prompt in prompts]
    slices = [Slice(seq_id, 0, each, wants_logits=True) for seq_id, each in enumerate(tokens)]
    assert model.decode(slices)
    sampler = model.sampler(GREEDY)
    ends = [sum(map(len, tokens[: count + 1])) - 1 for count in range(len(tokens))]
    assert [sampler.sample(end) for end in ends] == alone
    sampler.close()


def test_a_copied_prefix_goes_on_as_if_it_had_been_decoded(model: LlamaModel) -> None:
    fresh = continued(model, "The sky is", GREEDY, 4)
    prompt = model.tokenize("The sky is")
    model.copy_prefix(0, 3, len(prompt) - 1)
    model.forget(0)
    assert went_on(model, prompt[-1:], GREEDY, 4, seq_id=3, position=len(prompt) - 1) == fresh


def test_a_saved_sequence_goes_on_under_another_id(model: LlamaModel) -> None:
    fresh = continued(model, "The sky is", GREEDY, 4)
    prompt = model.tokenize("The sky is")
    state = model.save(0)
    model.forget(0)
    assert model.restore(2, state)
    model.forget(2, len(prompt) - 1)
    assert went_on(model, prompt[-1:], GREEDY, 4, seq_id=2, position=len(prompt) - 1) == fresh


def test_without_room_nothing_is_done_and_what_is_there_goes_on(model: LlamaModel) -> None:
    fresh = continued(model, "The sky is", GREEDY, 4)
    prompt = model.tokenize("The sky is")
    many = model.tokenize("word " * 600)[:MAX_BATCH_TOKENS]
    assert model.decode([Slice(1, 0, many, wants_logits=False)])
    state = model.save(1)
    assert model.decode([Slice(2, 0, many, wants_logits=False)])
    assert not model.decode([Slice(3, 0, many, wants_logits=True)])
    assert not model.restore(3, state)
    model.forget(0, len(prompt) - 1)
    assert went_on(model, prompt[-1:], GREEDY, 4, position=len(prompt) - 1) == fresh


def test_what_the_model_cannot_compute_is_an_error(model: LlamaModel) -> None:
    with pytest.raises(RuntimeError, match="llama_decode returned -1"):
        model.decode([Slice(0, 0, [10**6], wants_logits=True)])


def test_a_model_of_tokens_shares_prefixes(model: LlamaModel) -> None:
    assert model.shares_prefixes


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGUF\x03\0\0\0" + bytes(100), b"<html>"])
def test_a_broken_file_is_unavailable_and_named(tmp_path: Path, content: bytes) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(content)
    with pytest.raises(Unavailable) as caught:
        LlamaModel(broken, 512, 1, 1)
    assert "The chat model broken.gguf cannot be loaded" in caught.value.reason
    assert "gives no reason" not in caught.value.reason
    assert "broken.gguf" in (caught.value.mend or "")


def test_a_half_downloaded_file_is_unavailable(tmp_path: Path, path: Path) -> None:
    half = tmp_path / "half.gguf"
    with path.open("rb") as source:
        half.write_bytes(source.read(20_000_000))
    with pytest.raises(Unavailable, match=r"half\.gguf cannot be loaded"):
        LlamaModel(half, 512, 1, 1)


def test_a_missing_file_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"gone\.gguf cannot be loaded"):
        LlamaModel(tmp_path / "gone.gguf", 512, 1, 1)
