"""What a model will take of memory is told by its header, layer by layer, as llama.cpp then takes it."""

import logging
import re
from pathlib import Path

import pytest

from engine_room.chat.llama import LlamaModel
from engine_room.chat.memory import (
    Conversations,
    Memory,
    conversations_of,
    file_bytes,
    gpu_share,
    needed_bytes,
    shared,
    with_room,
)
from engine_room.chat.options import ModelOptions
from tests.hybrid_models import write_hybrid
from tests.test_gguf import header, number, numbers, string

WIDTH = 1024
BASE = {"block_count": 4, "embedding_length": WIDTH, "attention.head_count": 8}


def held(folder: Path, **more: int | tuple[int, ...]) -> Conversations:
    """What a model holds of 4 layers with 8 heads of 128, of whose header this is the rest; `__` is a dot."""
    pairs = [string("general.architecture", "x")]
    for name, value in (
        BASE | {key.replace("__", "."): each for key, each in more.items()}
    ).items():
        pairs.append(
            numbers(f"x.{name}", *value) if isinstance(value, tuple) else number(f"x.{name}", value)
        )
    path = folder / "x.gguf"
    path.unlink(missing_ok=True)
    path.write_bytes(header(*pairs))
    return conversations_of(path)


def test_keys_and_values_are_added_up_over_the_layers(tmp_path: Path) -> None:
    head = 2 * 128
    assert held(tmp_path) == Conversations(4 * 8 * head)
    assert held(tmp_path, attention__head_count_kv=2) == Conversations(4 * 2 * head)
    assert held(tmp_path, attention__head_count_kv=(8, 4, 4, 1)) == Conversations(17 * head)
    assert held(tmp_path, attention__key_length=64, attention__value_length=32) == Conversations(
        4 * 8 * (64 + 32)
    )
    assert held(tmp_path, attention__head_count=(8, 8, 4, 4)) == Conversations(24 * head)
    assert held(tmp_path, attention__shared_kv_layers=3) == Conversations(8 * head)


def test_a_layer_with_a_sliding_window_holds_everything_with_heads_of_its_own_size(
    tmp_path: Path,
) -> None:
    sizes = {"attention__key_length": 128, "attention__value_length": 128}
    pattern: dict[str, int | tuple[int, ...]] = {
        **sizes,
        "attention__sliding_window": 512,
        "attention__sliding_window_pattern": (1, 1, 1, 0),
    }
    assert held(tmp_path, **pattern) == Conversations(4 * 8 * 256)
    swa = {"attention__key_length_swa": 64, "attention__value_length_swa": 64}
    assert held(tmp_path, **pattern, **swa) == Conversations((3 * 128 + 256) * 8)


def test_recurrent_layers_hold_a_state_for_each_sequence(tmp_path: Path) -> None:
    mamba = {"ssm__conv_kernel": 4, "ssm__inner_size": 2048, "ssm__state_size": 16}
    state = 3 * 2048 + 2048 * 16
    some = (0, 0, 8, 0)
    assert held(tmp_path, attention__head_count_kv=some, **mamba) == Conversations(2048, 3 * state)
    assert held(tmp_path, full_attention_interval=2, **mamba) == Conversations(4096, 2 * state)
    assert held(tmp_path, attention__head_count=0, **mamba) == Conversations(0, 4 * state)
    grouped = mamba | {"ssm__group_count": 2}
    assert held(tmp_path, **grouped) == Conversations(8192, 4 * (state + 3 * 2 * 2 * 16))
    assert held(
        tmp_path, attention__head_count=0, wkv__head_size=64, token_shift_count=2
    ) == Conversations(0, 4 * (2 + 64) * WIDTH)


def test_a_header_that_tells_nothing_makes_the_weights_all_there_is(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(b"GGUF and nothing more")
    assert conversations_of(path) == Conversations()
    assert needed_bytes(path, ModelOptions()) == 21
    assert held(tmp_path, block_count=2**31) == Conversations(1000 * 8 * 256)


def test_a_model_of_several_kinds_of_layers_takes_what_was_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_hybrid(tmp_path / "hybrid.gguf", (0, 2, 0, 4, 0, 0))
    options = ModelOptions(num_sequences=256)
    with caplog.at_level(logging.DEBUG, "engine_room.llama_library"):
        model = LlamaModel(path, options)
        taken, num_tokens = model.memory_bytes, model.num_pool_tokens
        model.close()
    said = [
        float(mb) for mb in re.findall(r"(?:cache|recurrent): size = +([\d.]+) MiB", caplog.text)
    ]
    expected = conversations_of(path)
    parts = (2 * num_tokens * expected.values_per_token, 4 * 256 * expected.values_per_sequence)
    assert said == pytest.approx([part / 2**20 for part in parts], abs=0.01)
    assert taken == pytest.approx(needed_bytes(path, options), rel=0.02)


GB = 1_000_000_000


@pytest.mark.parametrize(
    ("num_gpu_layers", "free", "on_gpu"),
    [
        (-1, Memory(8 * GB, 4 * GB), 1),
        (0, Memory(8 * GB, 4 * GB), 0),
        (3, Memory(8 * GB, 4 * GB), 3 / 5),
        (99, Memory(8 * GB, 4 * GB), 1),
        (-1, Memory(8 * GB), 0),
        (3, Memory(8 * GB), 0),
    ],
)
def test_as_much_of_a_model_is_on_the_gpu_as_of_its_layers_and_its_output(
    tmp_path: Path, num_gpu_layers: int, free: Memory, on_gpu: float
) -> None:
    held(tmp_path)  # writes a file of 4 layers
    options = ModelOptions(num_gpu_layers=num_gpu_layers)
    assert gpu_share(tmp_path / "x.gguf", options, free) == pytest.approx(on_gpu)
    assert shared(5 * GB, on_gpu) == Memory(5 * GB - int(5 * GB * on_gpu), int(5 * GB * on_gpu))


def test_conversations_have_the_room_beside_the_weights_where_they_lie(tmp_path: Path) -> None:
    held(tmp_path)
    path = tmp_path / "x.gguf"
    with path.open("ab") as file:
        file.truncate(1_000_000)  # with holes, as much as weights of 1 MB
    assert file_bytes(path) == 1_000_000

    def room(num_gpu_layers: int, ram: float, gpu: float) -> float:
        free = Memory(int(ram * 1e6), int(gpu * 1e6))
        return with_room(ModelOptions(num_gpu_layers=num_gpu_layers), path, free).free_bytes / 1e6

    assert room(-1, 5, 0) == pytest.approx(4)
    assert room(-1, 0.5, 5) == pytest.approx(4)  # a small machine with a large GPU
    assert room(0, 5, 9) == pytest.approx(4)
    assert room(1, 5, 9) == pytest.approx((5 - 0.8) / 0.8)
    assert room(4, 5, 1) == pytest.approx((1 - 0.8) / 0.8)


def test_memory_holds_what_fits_in_both_of_its_parts_and_is_told_in_words() -> None:
    budget = Memory(8 * GB, 4 * GB)
    assert [budget.holds(each) for each in (Memory(8 * GB), Memory(0, 4 * GB), budget)] == [
        True
    ] * 3
    assert not budget.holds(Memory(9 * GB))
    assert not budget.holds(Memory(0, 5 * GB))
    assert budget - Memory(GB, GB) + Memory(GB) == Memory(8 * GB, 3 * GB)
    assert str(budget) == "8.0 GB of memory and 4.0 GB on the GPU"
    assert str(Memory(GB)) == "1.0 GB of memory"
