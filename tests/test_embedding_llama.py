"""Tiny models of random weights, an encoder and a decoder: tokens, vectors, and no way to crash."""

from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
import pytest

from engine_room.embedding_llama import (
    MAX_BATCH_INPUTS,
    MAX_BATCH_TOKENS,
    EmbeddingModel,
    of_length_one,
    power_of_two,
)
from engine_room.embedding_turn import Vectors
from engine_room.errors import Unavailable
from tests.embedding_models import CONTEXT_TOKENS, WIDTH, write_bert, write_causal

TEXTS = ["hello world", "x", "zz top " * 20, "hello world", "Was it a cat I saw?"]
CLS, SEP, END = 2, 3, 2
NUM_SPECIAL = 5  # ids below are no words in the encoder's vocabulary


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("embedding models")


@pytest.fixture(scope="module")
def encoder(folder: Path) -> Iterator[EmbeddingModel]:
    model = EmbeddingModel(write_bert(folder / "bert.gguf"))
    yield model
    model.close()


@pytest.fixture(scope="module")
def decoder(folder: Path) -> Iterator[EmbeddingModel]:
    model = EmbeddingModel(write_causal(folder / "causal.gguf"))
    yield model
    model.close()


@pytest.fixture(params=["encoder", "decoder"])
def model(request: pytest.FixtureRequest) -> EmbeddingModel:
    found: EmbeddingModel = request.getfixturevalue(request.param)
    return found


def vectors_of(model: EmbeddingModel, *texts: str) -> Vectors:
    return model.embed([model.tokenize(text) for text in texts], 1)


def cosines(one: Vectors, other: Vectors) -> Vectors:
    found: Vectors = (one * other).sum(axis=1)
    return found


def test_a_text_stands_between_the_models_own_begin_and_end_tokens(
    encoder: EmbeddingModel, decoder: EmbeddingModel
) -> None:
    tokens = encoder.tokenize("hello world").tolist()
    assert (tokens[0], len(tokens), tokens[-1]) == (CLS, 4, SEP)
    assert decoder.tokenize("hi").tolist()[-1] == END


def test_special_tokens_in_a_text_are_text(
    encoder: EmbeddingModel, decoder: EmbeddingModel
) -> None:
    assert min(encoder.tokenize("a [SEP] b [MASK]").tolist()[1:-1]) >= NUM_SPECIAL
    assert END not in decoder.tokenize("a</s>b").tolist()[:-1]


def test_token_ids_of_a_text_are_framed_as_the_text_is(model: EmbeddingModel) -> None:
    framed = model.tokenize("abc").tolist()
    bare = [token for token in framed if token not in (CLS, SEP)]
    assert model.framed(bare).tolist() == framed
    assert model.framed(framed).tolist() == framed


@pytest.mark.parametrize("text", ["", " ", "\0", "a\0b", "é漢🙂", "\n", "a" * 3000])
def test_any_text_has_tokens_in_the_vocabulary(model: EmbeddingModel, text: str) -> None:
    tokens = model.tokenize(text)
    assert len(tokens)
    assert tokens.min() >= 0
    assert tokens.max() < model.num_vocab


def test_vectors_have_length_one_and_the_models_dimensions(model: EmbeddingModel) -> None:
    vectors = vectors_of(model, *TEXTS)
    assert vectors.shape == (len(TEXTS), WIDTH)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-6)
    assert model.num_dimensions == WIDTH


def test_a_batch_gives_each_input_the_vector_it_has_alone(model: EmbeddingModel) -> None:
    together = vectors_of(model, *TEXTS)
    alone = np.concatenate([vectors_of(model, text) for text in TEXTS])
    assert cosines(together, alone) == pytest.approx(1, abs=1e-5)


def test_the_same_text_has_the_same_vector_and_another_one_another(model: EmbeddingModel) -> None:
    vectors = vectors_of(model, *TEXTS)
    likeness = vectors @ vectors.T
    assert likeness[0, 3] == pytest.approx(1, abs=1e-5)
    likeness[[0, 3], [3, 0]] = 0
    assert (likeness - np.eye(len(TEXTS))).max() < 0.95


def test_the_last_token_counts_in_a_decoder_and_every_token_in_an_encoder(
    encoder: EmbeddingModel, decoder: EmbeddingModel
) -> None:
    for model in (encoder, decoder):
        first, second = vectors_of(model, "a" + "b" * 30, "c" + "b" * 30)
        assert 0 < first @ second < 1 - 1e-4  # what stands first is not lost


def test_as_many_inputs_as_a_batch_holds_are_read_at_once(model: EmbeddingModel) -> None:
    texts = [f"{number}" for number in range(MAX_BATCH_INPUTS)]
    together = vectors_of(model, *texts)
    assert cosines(together[-1:], vectors_of(model, texts[-1])) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("num_tokens", [1, 511, 512, 513, 700, 1025, CONTEXT_TOKENS])
def test_an_input_of_any_length_the_model_knows_is_read(
    model: EmbeddingModel, num_tokens: int
) -> None:
    tokens = np.arange(num_tokens, dtype=np.int32) % 50 + 20
    long, short = model.embed([tokens, tokens[:40]], 2)
    assert np.isfinite(long).all()
    assert cosines(model.embed([tokens[:40]], 2), short[np.newaxis]) == pytest.approx(1, abs=1e-5)


def test_a_decoders_vector_is_the_one_that_llama_cpp_pools(folder: Path) -> None:
    """Computed in pieces with the last token apart, it is that of the whole input at once."""
    model = EmbeddingModel(write_causal(folder / "pieces.gguf"))
    inputs = [np.arange(num, dtype=np.int32) % 50 + 20 for num in (1, 2, 60, 1100)]
    in_pieces = model.embed(inputs, 2)
    model._reads_last_token_only = False
    model._open_context(2048)
    at_once = model.embed(inputs, 2)
    model.close()
    assert cosines(in_pieces, at_once) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("pooling", [None, gguf.PoolingType.NONE])
def test_an_encoder_that_does_not_say_how_it_pools_is_read_by_the_mean(
    folder: Path, encoder: EmbeddingModel, pooling: gguf.PoolingType | None
) -> None:
    model = EmbeddingModel(write_bert(folder / f"{pooling}.gguf", pooling))
    same = cosines(vectors_of(model, *TEXTS), vectors_of(encoder, *TEXTS))
    model.close()
    assert same == pytest.approx(1, abs=1e-5)


def test_pooling_by_the_first_token_is_another_one(folder: Path, encoder: EmbeddingModel) -> None:
    model = EmbeddingModel(write_bert(folder / "cls.gguf", gguf.PoolingType.CLS))
    assert cosines(vectors_of(model, "hello"), vectors_of(encoder, "hello"))[0] < 0.99
    model.close()


def test_a_decoder_pooled_by_the_mean_reads_inputs_longer_than_a_batch(folder: Path) -> None:
    model = EmbeddingModel(write_causal(folder / "mean.gguf", gguf.PoolingType.MEAN))
    tokens = np.arange(900, dtype=np.int32) % 50 + 20
    changed = tokens.copy()
    changed[:MAX_BATCH_TOKENS] = 70  # the beginning counts, though a batch ends after it
    first, second = model.embed([tokens], 1), model.embed([changed], 1)
    model.close()
    assert cosines(first, second)[0] < 0.999


@pytest.mark.parametrize("content", [b"", b"GGUF", b"not a model" * 100])
def test_a_broken_file_is_said_with_its_name_and_what_mends_it(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(content)
    with pytest.raises(Unavailable, match=r"embedding model broken.gguf cannot be loaded: .*GGUF"):
        EmbeddingModel(path)


def test_a_truncated_model_is_said(folder: Path, tmp_path: Path) -> None:
    whole = write_bert(folder / "whole.gguf").read_bytes()
    path = tmp_path / "half.gguf"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Unavailable, match=r"half.gguf cannot be loaded"):
        EmbeddingModel(path)


def test_a_model_without_a_tokenizer_is_said(tmp_path: Path) -> None:
    path = write_causal(tmp_path / "mute.gguf", tokenizer="none")
    with pytest.raises(Unavailable, match=r"mute.gguf has no tokenizer"):
        EmbeddingModel(path)


def test_a_vector_of_zeros_stays_one() -> None:
    vectors = of_length_one(np.array([[0, 0], [3, 4]], np.float32))
    assert vectors.tolist() == [[0, 0], pytest.approx([0.6, 0.8])]


def test_powers_of_two() -> None:
    assert [power_of_two(number) for number in (1, 2, 3, 512, 513)] == [1, 2, 4, 512, 1024]
