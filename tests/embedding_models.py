"""Tiny embedding models of random weights, written as GGUF files that llama.cpp loads.

Their vectors mean nothing, but they are computed as those of a real model: tokenizer, attention,
pooling. What is asked of them here (shape, order, length, sameness) needs no more.
"""

from pathlib import Path

import gguf
import numpy as np

CONTEXT_TOKENS = 1200
WIDTH = 64
HIDDEN = 128
LAYERS = 2
HEADS = 4
LETTERS = [chr(code) for code in range(33, 127)]


def write_bert(path: Path, pooling: gguf.PoolingType | None = gguf.PoolingType.MEAN) -> Path:
    """An encoder as BERT is: WordPiece tokens between [CLS] and [SEP], every token sees every other."""
    writer = _writer(path, "bert", pooling)
    writer.add_causal_attention(False)
    writer.add_layer_norm_eps(1e-12)
    writer.add_token_type_count(2)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokens = [
        *special,
        *(f"\u2581{letter}" for letter in LETTERS),
        *LETTERS,
        "\u2581hello",
        "\u2581world",
    ]
    writer.add_tokenizer_model("bert")
    writer.add_token_list(tokens)
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    writer.add_token_types([control if token in special else normal for token in tokens])
    writer.add_unk_token_id(1)
    writer.add_bos_token_id(2)
    writer.add_sep_token_id(3)
    writer.add_pad_token_id(0)
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (len(tokens), WIDTH),
        "token_types.weight": (2, WIDTH),
        "position_embd.weight": (CONTEXT_TOKENS, WIDTH),
        **_norm("token_embd_norm"),
    }
    for layer in range(LAYERS):
        name = f"blk.{layer}"
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            shapes |= _linear(f"{name}.{part}", WIDTH, WIDTH)
        shapes |= _linear(f"{name}.ffn_up", HIDDEN, WIDTH)
        shapes |= _linear(f"{name}.ffn_down", WIDTH, HIDDEN)
        shapes |= _norm(f"{name}.attn_output_norm") | _norm(f"{name}.layer_output_norm")
    return _finished(writer, path, shapes)


def write_causal(
    path: Path,
    pooling: gguf.PoolingType | None = gguf.PoolingType.LAST,
    tokenizer: str = "llama",
) -> Path:
    """A decoder as Qwen3-Embedding is: the vector of the last token, an end token that is appended."""
    writer = _writer(path, "qwen3", pooling)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_head_count_kv(HEADS // 2)
    writer.add_key_length(WIDTH // HEADS)
    writer.add_value_length(WIDTH // HEADS)
    special = ["<unk>", "<s>", "</s>"]
    tokens = [*special, *(f"<0x{byte:02X}>" for byte in range(256)), "\u2581", *LETTERS]
    types = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL]
    types += [gguf.TokenType.BYTE] * 256 + [gguf.TokenType.NORMAL] * (1 + len(LETTERS))
    add_tokens(writer, tokens, types, tokenizer)
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(True)
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (len(tokens), WIDTH),
        "output_norm.weight": (WIDTH,),
    }
    for layer in range(LAYERS):
        name = f"blk.{layer}"
        shapes |= {
            f"{name}.attn_norm.weight": (WIDTH,),
            f"{name}.attn_q.weight": (WIDTH, WIDTH),
            f"{name}.attn_k.weight": (WIDTH // 2, WIDTH),
            f"{name}.attn_v.weight": (WIDTH // 2, WIDTH),
            f"{name}.attn_q_norm.weight": (WIDTH // HEADS,),
            f"{name}.attn_k_norm.weight": (WIDTH // HEADS,),
            f"{name}.attn_output.weight": (WIDTH, WIDTH),
            f"{name}.ffn_norm.weight": (WIDTH,),
            f"{name}.ffn_gate.weight": (HIDDEN, WIDTH),
            f"{name}.ffn_up.weight": (HIDDEN, WIDTH),
            f"{name}.ffn_down.weight": (WIDTH, HIDDEN),
        }
    return _finished(writer, path, shapes)


def add_tokens(
    writer: gguf.GGUFWriter, tokens: list[str], types: list[gguf.TokenType], tokenizer: str
) -> None:
    """A SentencePiece vocabulary, of which the first three are unknown, begin and end."""
    writer.add_tokenizer_model(tokenizer)
    writer.add_vocab_size(len(tokens))
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types(types)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)


def _writer(path: Path, architecture: str, pooling: gguf.PoolingType | None) -> gguf.GGUFWriter:
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name(f"tiny {architecture}")
    writer.add_context_length(CONTEXT_TOKENS)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_head_count(HEADS)
    if pooling is not None:
        writer.add_pooling_type(pooling)
    return writer


def _linear(name: str, num_out: int, num_in: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (num_out, num_in), f"{name}.bias": (num_out,)}


def _norm(name: str) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (WIDTH,), f"{name}.bias": (WIDTH,)}


def _finished(writer: gguf.GGUFWriter, path: Path, shapes: dict[str, tuple[int, ...]]) -> Path:
    """Random weights under these names, the same at each run; norms near one, so that nothing fades."""
    random = np.random.default_rng(7)
    for name, shape in shapes.items():
        weights = random.standard_normal(shape).astype(np.float32)
        if name.endswith("norm.weight"):
            weights = np.float32(1) + weights / np.float32(10)
        elif name.endswith((".bias", "types.weight", "position_embd.weight")):
            weights /= np.float32(10)  # else they drown the words
        elif len(shape) == 2 and "embd" not in name:
            weights /= np.sqrt(np.float32(shape[1]))
        writer.add_tensor(name, weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
