"""A tiny chat model whose layers differ, of random weights: some remember states, others keys and values."""

from collections.abc import Sequence
from pathlib import Path

import gguf

from tests.embedding_models import LETTERS, _finished, add_tokens

CONTEXT_TOKENS = 2048
WIDTH = 64
HIDDEN = 128
HEADS = 4
CONV_TOKENS = 3


def write_hybrid(path: Path, num_kv_heads: Sequence[int] = (0, 2, 0, 4)) -> Path:
    """A decoder as LFM2 is: a short convolution where a layer has no heads, else attention."""
    writer = gguf.GGUFWriter(path, "lfm2")
    writer.add_name("tiny lfm2")
    writer.add_context_length(CONTEXT_TOKENS)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_block_count(len(num_kv_heads))
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(list(num_kv_heads))
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_shortconv_l_cache(CONV_TOKENS)
    special = ["<unk>", "<s>", "</s>"]
    tokens = [*special, *(f"<0x{byte:02X}>" for byte in range(256)), "\u2581", *LETTERS]
    types = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL]
    types += [gguf.TokenType.BYTE] * 256 + [gguf.TokenType.NORMAL] * (1 + len(LETTERS))
    add_tokens(writer, tokens, types, "llama")
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (len(tokens), WIDTH),
        "token_embd_norm.weight": (WIDTH,),
    }
    for layer, num_heads in enumerate(num_kv_heads):
        name = f"blk.{layer}"
        shapes |= {
            f"{name}.attn_norm.weight": (WIDTH,),
            f"{name}.ffn_norm.weight": (WIDTH,),
            f"{name}.ffn_gate.weight": (HIDDEN, WIDTH),
            f"{name}.ffn_up.weight": (HIDDEN, WIDTH),
            f"{name}.ffn_down.weight": (WIDTH, HIDDEN),
        }
        shapes |= _attention(name, num_heads) if num_heads else _convolution(name)
    return _finished(writer, path, shapes)


def _attention(name: str, num_kv_heads: int) -> dict[str, tuple[int, ...]]:
    head = WIDTH // HEADS
    return {
        f"{name}.attn_q.weight": (WIDTH, WIDTH),
        f"{name}.attn_k.weight": (num_kv_heads * head, WIDTH),
        f"{name}.attn_v.weight": (num_kv_heads * head, WIDTH),
        f"{name}.attn_q_norm.weight": (head,),
        f"{name}.attn_k_norm.weight": (head,),
        f"{name}.attn_output.weight": (WIDTH, WIDTH),
    }


def _convolution(name: str) -> dict[str, tuple[int, ...]]:
    return {
        f"{name}.shortconv.conv.weight": (WIDTH, CONV_TOKENS),
        f"{name}.shortconv.in_proj.weight": (3 * WIDTH, WIDTH),
        f"{name}.shortconv.out_proj.weight": (WIDTH, WIDTH),
    }
