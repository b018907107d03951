"""Tiny chat models that see, of random weights: a GGUF file, and its projector's beside it.

What they say means nothing, but it is computed as by a real model. One of each kind that matters to
where an image lies in a prompt: LLaVA's (a position for each token), Gemma's (the tokens of an image
see each other) and Qwen's (an image of 9 tokens takes 3 positions).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import gguf
import numpy as np

from tests.embedding_models import add_tokens

Kind = Literal["llava", "gemma", "qwen"]
ARCHITECTURES: Mapping[Kind, str] = {"llava": "llama", "gemma": "gemma3", "qwen": "qwen2vl"}
PROJECTORS: Mapping[Kind, str] = {"llava": "mlp", "gemma": "gemma3", "qwen": "qwen2vl_merger"}
CONTEXT_TOKENS = 512
WIDTH = 64
HIDDEN = 128
LAYERS = 2
HEADS = 4
EYE_WIDTH = 32
PATCH = 8
IMAGE_SIZE = 48
CONTROL = [
    "<unk>",
    "<s>",
    "</s>",
    "<|im_start|>",
    "<|im_end|>",
    "<start_of_image>",
    "<end_of_image>",
    "<|vision_start|>",
    "<|vision_end|>",
]
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def write_pair(folder: Path, kind: Kind, name: str = "seer") -> tuple[Path, Path]:
    """The model and its projector, by names that belong together."""
    return (
        write_model(folder / f"{name}.gguf", kind),
        write_projector(folder / f"mmproj-{name}.gguf", kind),
    )


def write_model(path: Path, kind: Kind = "llava", template: str = TEMPLATE) -> Path:
    """A decoder of that kind; its tokens are bytes."""
    writer = gguf.GGUFWriter(path, ARCHITECTURES[kind])
    writer.add_name(f"tiny {kind}")
    writer.add_context_length(CONTEXT_TOKENS)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_key_length(WIDTH // HEADS)
    writer.add_value_length(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-6)
    if kind == "gemma":
        writer.add_sliding_window(256)
    if kind == "qwen":
        writer.add_rope_dimension_sections([4, 2, 2, 0])
    _add_tokenizer(writer)
    writer.add_chat_template(template)
    shapes = _decoder_shapes(kind)
    return _finished(writer, path, shapes)


def _add_tokenizer(writer: gguf.GGUFWriter) -> None:
    tokens = [*CONTROL, *(f"<0x{byte:02X}>" for byte in range(256))]
    types = [gguf.TokenType.CONTROL] * len(CONTROL) + [gguf.TokenType.BYTE] * 256
    types[0] = gguf.TokenType.UNKNOWN
    add_tokens(writer, tokens, types, "llama")
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)


def _decoder_shapes(kind: Kind) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (len(CONTROL) + 256, WIDTH),
        "output.weight": (len(CONTROL) + 256, WIDTH),
        "output_norm.weight": (WIDTH,),
    }
    for layer in range(LAYERS):
        name = f"blk.{layer}"
        shapes |= {f"{name}.attn_norm.weight": (WIDTH,), f"{name}.ffn_norm.weight": (WIDTH,)}
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            shapes[f"{name}.{part}.weight"] = (WIDTH, WIDTH)
        for part in ("ffn_gate", "ffn_up"):
            shapes[f"{name}.{part}.weight"] = (HIDDEN, WIDTH)
        shapes[f"{name}.ffn_down.weight"] = (WIDTH, HIDDEN)
        if kind == "qwen":
            for part in ("attn_q", "attn_k", "attn_v"):
                shapes[f"{name}.{part}.bias"] = (WIDTH,)
        if kind == "gemma":
            for part in ("attn_q_norm", "attn_k_norm"):
                shapes[f"{name}.{part}.weight"] = (WIDTH // HEADS,)
            for part in ("post_attention_norm", "post_ffw_norm"):
                shapes[f"{name}.{part}.weight"] = (WIDTH,)
    return shapes


def write_projector(path: Path, kind: Kind = "llava", width: int = WIDTH) -> Path:
    """An image encoder whose vectors are of the decoder's width."""
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_name(f"tiny {kind} eyes")
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_string("clip.projector_type", PROJECTORS[kind])
    writer.add_bool("clip.use_gelu", True)
    sizes = {
        "image_size": IMAGE_SIZE,
        "patch_size": PATCH,
        "embedding_length": EYE_WIDTH,
        "feed_forward_length": 2 * EYE_WIDTH,
        "block_count": 2,
        "attention.head_count": 2,
        "projection_dim": width,
    }
    if kind == "gemma":
        sizes["projector.scale_factor"] = 2
    for name, size in sizes.items():
        writer.add_uint32(f"clip.vision.{name}", size)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-6)
    writer.add_array("clip.vision.image_mean", [0.5, 0.5, 0.5])
    writer.add_array("clip.vision.image_std", [0.5, 0.5, 0.5])
    return _finished(writer, path, _encoder_shapes(kind, width))


def _encoder_shapes(kind: Kind, width: int) -> dict[str, tuple[int, ...]]:
    num_patches = (IMAGE_SIZE // PATCH) ** 2
    shapes: dict[str, tuple[int, ...]] = {"v.patch_embd.weight": (EYE_WIDTH, 3, PATCH, PATCH)}
    if kind == "qwen":
        shapes["v.patch_embd.weight.1"] = (EYE_WIDTH, 3, PATCH, PATCH)
    else:
        shapes["v.position_embd.weight"] = (num_patches, EYE_WIDTH)
        shapes["v.patch_embd.bias"] = (EYE_WIDTH,)
    for layer in range(2):
        name = f"v.blk.{layer}"
        for part in ("attn_q", "attn_k", "attn_v", "attn_out"):
            shapes |= _linear(f"{name}.{part}", EYE_WIDTH, EYE_WIDTH)
        shapes |= _linear(f"{name}.ffn_up", 2 * EYE_WIDTH, EYE_WIDTH)
        shapes |= _linear(f"{name}.ffn_down", EYE_WIDTH, 2 * EYE_WIDTH)
        for part in ("ln1", "ln2"):
            shapes |= {f"{name}.{part}.{kind_}": (EYE_WIDTH,) for kind_ in ("weight", "bias")}
    shapes |= {f"v.post_ln.{kind_}": (EYE_WIDTH,) for kind_ in ("weight", "bias")}
    if kind == "llava":
        shapes |= _linear("mm.0", width, EYE_WIDTH) | _linear("mm.2", width, width)
    elif kind == "gemma":
        shapes["mm.input_projection.weight"] = (EYE_WIDTH, width)
        shapes["mm.soft_emb_norm.weight"] = (EYE_WIDTH,)
    else:
        shapes |= _linear("mm.0", 4 * EYE_WIDTH, 4 * EYE_WIDTH)
        shapes |= _linear("mm.2", width, 4 * EYE_WIDTH)
    return shapes


def _linear(name: str, num_out: int, num_in: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (num_out, num_in), f"{name}.bias": (num_out,)}


def _finished(writer: gguf.GGUFWriter, path: Path, shapes: dict[str, tuple[int, ...]]) -> Path:
    """Random weights under these names, the same at each run; norms near one, so that nothing fades."""
    random = np.random.default_rng(11)
    for name, shape in shapes.items():
        weights = random.standard_normal(shape).astype(np.float32)
        if "norm.weight" in name or ".ln" in name or "_ln" in name:
            weights = np.float32(1) + weights / np.float32(10)
        elif name.endswith(".bias"):
            weights /= np.float32(10)
        elif "embd" not in name or len(shape) == 4:
            weights /= np.sqrt(np.float32(np.prod(shape[1:])))
        writer.add_tensor(name, weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
