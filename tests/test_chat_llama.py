"""The real bundled model: tokens, memory, sampling."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest

from engine_room.catalogue import Catalogue
from engine_room.chat.llama import MAX_BATCH_TOKENS, LlamaModel, Slice
from engine_room.chat.options import Lora, ModelOptions, Rope
from engine_room.chat.turn import Sampling
from engine_room.errors import Unavailable
from engine_room.settings import KvType, Settings

GREEDY = Sampling(0, 0.95, 40, 0.05, 1.0, 0, 0, -1)
NUM_IDS = 4
TEXTS = ["Hello", "", " two  spaces\n", "Ünïcödé 漢字 🙂👩‍👩‍👧", "a\0b", "1 + 1 = 2", "\ttab"]


@pytest.fixture(scope="module")
def path() -> Path:
    return Catalogue(Settings(_env_file=None)).chat("smollm2-135m-instruct").path


@pytest.fixture(scope="module")
def model(path: Path) -> Iterator[LlamaModel]:
    model = LlamaModel(path, ModelOptions(num_sequences=NUM_IDS, context_tokens=700))
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
    large = LlamaModel(path, ModelOptions(context_tokens=100_000))
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
        LlamaModel(broken, ModelOptions())
    assert "The chat model broken.gguf cannot be loaded" in caught.value.reason
    assert "gives no reason" not in caught.value.reason
    assert "broken.gguf" in (caught.value.mend or "")


def test_a_half_downloaded_file_is_unavailable(tmp_path: Path, path: Path) -> None:
    half = tmp_path / "half.gguf"
    with path.open("rb") as source:
        half.write_bytes(source.read(20_000_000))
    with pytest.raises(Unavailable, match=r"half\.gguf cannot be loaded"):
        LlamaModel(half, ModelOptions())


def test_a_missing_file_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"gone\.gguf cannot be loaded"):
        LlamaModel(tmp_path / "gone.gguf", ModelOptions())


# ------------------------------------------------------------ options


@contextmanager
def loaded(path: Path, options: ModelOptions) -> Iterator[LlamaModel]:
    model = LlamaModel(path, options)
    yield model
    model.close()


SMALL = ModelOptions(num_sequences=NUM_IDS, context_tokens=512)
PROMPT = "The capital of France is"


@pytest.mark.parametrize(("kv_type", "share"), [("q8_0", 0.53), ("q4_0", 0.28)])
def test_a_smaller_kind_of_memory_is_smaller_and_still_knows_the_capital(
    model: LlamaModel, path: Path, kv_type: KvType, share: float
) -> None:
    assert text_of(model, continued(model, PROMPT, GREEDY, 1)) == " Paris"
    full_size = model.save(0).nbytes
    with loaded(path, replace(SMALL, kv_type=kv_type)) as small:
        assert text_of(small, continued(small, PROMPT, GREEDY, 1)) == " Paris"
        assert small.save(0).nbytes == pytest.approx(share * full_size, rel=0.05)


def test_the_context_is_the_models_own_as_far_as_an_eighth_of_the_memory_holds_it(
    path: Path,
) -> None:
    with loaded(path, ModelOptions()) as model:
        assert model.num_context_tokens == model.num_trained_tokens == 8192
    # Two conversations of 4096 tokens, 30 layers, 3 heads of 64 keys and 64 values, two bytes each.
    eighth = 2 * 4096 * 30 * 3 * (64 + 64) * 2
    with loaded(path, ModelOptions(free_bytes=8 * eighth)) as model:
        assert model.num_context_tokens == 4096


def test_a_context_that_does_not_fit_the_memory_is_unavailable_with_both_numbers(
    path: Path,
) -> None:
    with pytest.raises(Unavailable) as caught:
        LlamaModel(path, ModelOptions(context_tokens=8192, free_bytes=1e8))
    assert caught.value.reason == (
        "2 conversations of 8,192 tokens take 0.4 GB of memory; 0.1 GB are free."
    )
    assert "CHAT_CONTEXT_TOKENS" in (caught.value.mend or "")


@pytest.mark.parametrize(
    "rope", [Rope("yarn"), Rope("linear"), Rope(freq_scale=0.5), Rope(freq_base=400_000)]
)
def test_scaled_positions_reach_further_than_the_model_was_trained(path: Path, rope: Rope) -> None:
    with loaded(path, ModelOptions(context_tokens=16_384, rope=rope)) as stretched:
        assert stretched.num_context_tokens == 16_384
        tokens = stretched.tokenize("word " * 20)[:20]
        assert stretched.decode([Slice(0, 16_300, tokens, wants_logits=True)])


def test_scaled_positions_change_what_the_model_says(model: LlamaModel, path: Path) -> None:
    prompt = "One, two, three, four, five, six, seven, eight, nine, ten, eleven,"
    plain = continued(model, prompt, GREEDY, 12)
    with loaded(path, replace(SMALL, rope=Rope(freq_base=500))) as scaled:
        assert continued(scaled, prompt, GREEDY, 12) != plain
    with loaded(path, replace(SMALL, rope=Rope("none"))) as same:
        assert continued(same, prompt, GREEDY, 12) == plain


def test_flash_attention_on_is_what_auto_is_on_the_cpu(path: Path) -> None:
    drawn = []
    for flash_attention in ("auto", "on", "off"):
        with loaded(path, replace(SMALL, flash_attention=flash_attention)) as model:
            assert text_of(model, continued(model, PROMPT, GREEDY, 1)) == " Paris"
            drawn.append(model.save(0))
    assert drawn[0].shape == drawn[1].shape
    assert drawn[0].shape != drawn[2].shape or not np.array_equal(drawn[0], drawn[2])
    assert np.array_equal(drawn[0], drawn[1])


def adapter(path: Path, strength: float, architecture: str = "llama") -> Path:
    """A LoRA of rank 1 on one layer of the bundled model."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 1.0)
    random = np.random.default_rng(3)
    for name, shape in (("lora_a", (1, 1536)), ("lora_b", (576, 1))):
        values = strength * random.standard_normal(shape)
        writer.add_tensor(f"blk.29.ffn_down.weight.{name}", values.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_an_adapter_changes_what_the_model_says_as_strongly_as_it_is_told(
    model: LlamaModel, path: Path, tmp_path: Path
) -> None:
    lora = adapter(tmp_path / "tiny.gguf", strength=2.0)
    plain = continued(model, PROMPT, GREEDY, 8)
    drawn = []
    for scale in (1.0, -1.0, 0.0):
        with loaded(path, replace(SMALL, loras=(Lora(lora, scale),))) as adapted:
            drawn.append(continued(adapted, PROMPT, GREEDY, 8))
    assert drawn[0] != plain
    assert drawn[1] not in (plain, drawn[0])
    assert drawn[2] == plain


def test_an_adapter_that_is_missing_or_none_is_unavailable_and_named(
    path: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF and no more")
    other = adapter(tmp_path / "other.gguf", 1.0, architecture="gpt2")
    for file in (tmp_path / "gone.gguf", tmp_path, broken, other, path):
        with pytest.raises(Unavailable, match="cannot be used: ") as caught:
            LlamaModel(path, replace(SMALL, loras=(Lora(file),)))
        assert str(file) in caught.value.reason
        assert "CHAT_LORA" in (caught.value.mend or "")


def test_the_number_of_threads_changes_between_steps_and_not_what_is_said(
    model: LlamaModel,
) -> None:
    said = continued(model, PROMPT, GREEDY, 6)
    for num_threads in (2, 1, 2):
        model.use_threads(num_threads)
        assert continued(model, PROMPT, GREEDY, 6) == said
    model.use_threads(1)
