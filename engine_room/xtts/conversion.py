"""XTTS's two heavy parts in forms that a CPU computes fast: the GPT as a GGUF, the vocoder as ONNX.

Made once from the user's model, beside it where that can be written, and never touching it. Written from
plain arrays; whoever has the model loaded hands them over.
"""

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine_room.errors import Unavailable
from engine_room.folders import is_left_over
from engine_room.xtts.gpt import LAYER_NORM_EPSILON
from engine_room.xtts.vocoder import Context

log = logging.getLogger(__name__)
RECIPE = 2  # raise it when what an earlier version made is to be made anew
GPT_FILE, VOCODER_FILE, NOTE_FILE = "gpt.gguf", "vocoder.onnx", "made-from.json"
NUM_WORDS = 32  # of the vocabulary that means nothing; quantised rows come in blocks of 32


@dataclass(frozen=True, slots=True)
class MadeFrom:
    """What a folder of converted files was made from; of the same it need not be made again."""

    model_sha256: str
    gpt_type: str
    recipe: int = RECIPE


def is_made(folder: Path, source: MadeFrom) -> bool:
    """True when the folder holds whole files made from this."""
    try:
        note = json.loads((folder / NOTE_FILE).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return note == asdict(source) and all(
        (folder / name).is_file() for name in (GPT_FILE, VOCODER_FILE)
    )


def make_in_one(places: Sequence[Path], source: MadeFrom, write: Callable[[Path], None]) -> Path:
    """Have `write` fill the first of the folders that takes it; which one. Raises OSError that says of each
    why it does not."""
    refusals = []
    for folder in places:
        try:
            make(folder, source, write)
        except OSError as error:
            refusals.append(f"{folder} ({error.strerror or error})")
        else:
            return folder
    raise OSError(" nor ".join(refusals))


def make(folder: Path, source: MadeFrom, write: Callable[[Path], None]) -> None:
    """Have `write` fill the folder, all of it or nothing. What a crash left of an earlier time, half a GB
    perhaps, is removed. Raises OSError (no room, no permission)."""
    for left in folder.parent.glob(f".{folder.name}.*.partial"):
        number = left.name.split(".")[-2]
        if is_left_over(left, int(number) if number.isdigit() else 0):
            shutil.rmtree(left, ignore_errors=True)
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    try:
        partial.mkdir(parents=True)
        write(partial)
        (partial / NOTE_FILE).write_text(json.dumps(asdict(source)), "utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        partial.replace(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


@dataclass(frozen=True, slots=True)
class GptShape:
    """The size of a GPT-2."""

    num_layers: int
    num_heads: int
    width: int
    num_positions: int


def write_gguf(
    path: Path,
    shape: GptShape,
    weights: Mapping[str, NDArray[np.float32]],
    gpt_type: str,
    on_layer: Callable[[int], None] = lambda layer: None,
) -> None:
    """A GPT-2 as a GGUF of type "q8_0", "f16" or "f32". `weights` are those of transformers' GPT2Model by
    their names; `on_layer` is told each layer when it is done."""
    import gguf

    kind = gguf.GGMLQuantizationType[gpt_type.upper()]
    writer = gguf.GGUFWriter(path, "gpt2", use_temp_file=False)
    writer.add_name("XTTS GPT")
    writer.add_context_length(shape.num_positions)
    writer.add_embedding_length(shape.width)
    writer.add_feed_forward_length(4 * shape.width)
    writer.add_block_count(shape.num_layers)
    writer.add_head_count(shape.num_heads)
    writer.add_layer_norm_eps(LAYER_NORM_EPSILON)
    writer.add_file_type(
        gguf.LlamaFileType[f"MOSTLY_{gpt_type.upper()}" if gpt_type != "f32" else "ALL_F32"]
    )
    writer.add_tokenizer_model("none")
    writer.add_vocab_size(NUM_WORDS)
    no_words = np.zeros((NUM_WORDS, shape.width), np.float32)
    writer.add_tensor("token_embd.weight", no_words)
    no_positions = np.zeros((shape.num_positions, shape.width), np.float32)
    writer.add_tensor("position_embd.weight", no_positions)
    for name, array, is_matrix in _tensors(shape, weights, on_layer):
        if is_matrix:
            writer.add_tensor(name, gguf.quantize(array, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


# llama.cpp's name for a part of a layer, and transformers'.
LAYER_PARTS = {
    "attn_norm": "ln_1",
    "attn_qkv": "attn.c_attn",
    "attn_output": "attn.c_proj",
    "ffn_norm": "ln_2",
    "ffn_up": "mlp.c_fc",
    "ffn_down": "mlp.c_proj",
}


def _tensors(
    shape: GptShape,
    weights: Mapping[str, NDArray[np.float32]],
    on_layer: Callable[[int], None],
) -> Iterable[tuple[str, NDArray[np.float32], bool]]:
    """Name, array, and whether it is a matrix, which may be quantised."""
    for layer in range(shape.num_layers):
        for ours, theirs in LAYER_PARTS.items():
            weight = weights[f"h.{layer}.{theirs}.weight"]
            is_matrix = weight.ndim == 2
            # A Conv1D of GPT-2 is a linear layer whose weight lies the other way round.
            yield f"blk.{layer}.{ours}.weight", np.ascontiguousarray(weight.T), is_matrix
            yield f"blk.{layer}.{ours}.bias", weights[f"h.{layer}.{theirs}.bias"], False
        on_layer(layer)
    yield "output_norm.weight", weights["ln_f.weight"], False
    yield "output_norm.bias", weights["ln_f.bias"], False


class OnnxVocoder:
    """The vocoder's network on ONNX Runtime; a `vocoder.Network`. Raises Unavailable when the file cannot
    be loaded."""

    def __init__(self, path: Path, num_threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads
        # Threads that spin between runs would take the cores from the GPT.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        providers = ["CPUExecutionProvider"]
        try:
            self._session: Any = onnxruntime.InferenceSession(path, options, providers=providers)
        except Exception as error:  # its errors have no class in common
            raise Unavailable(
                f"The XTTS vocoder {path} cannot be loaded: {error}.",
                f"Remove {path}; it is made anew from the model.",
            ) from error

    def __call__(
        self, frames: NDArray[np.float32], speaker: NDArray[np.float32], context: Context
    ) -> NDArray[np.float32]:
        """See `vocoder.Network`."""
        inputs = {
            "frames": frames.T[None],
            "speaker": speaker.reshape(1, -1, 1),
            "context": np.array(context, np.int64),
        }
        samples: NDArray[np.float32] = self._session.run(None, inputs)[0]
        return samples
