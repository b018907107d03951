"""A chat model's options come from the settings and fit the model."""

from pathlib import Path

import pytest

from engine_room.chat.options import (
    MIN_CONTEXT_TOKENS,
    Lora,
    ModelOptions,
    Rope,
    fitted_context,
    fitted_freq_scale,
    model_options,
)
from engine_room.errors import Unavailable
from engine_room.model_settings import Loading
from engine_room.settings import PROJECT_DIR, Settings

# An 8B model of the usual kind: 32 layers, 8 heads of 128 keys and 128 values.
NUM_VALUES = 32 * 8 * 256
TRAINED = 131_072


def options_of(
    *flags: str, is_default: bool = True, loading: Loading | None = None
) -> ModelOptions:
    settings = Settings(_env_file=None, _cli_parse_args=list(flags))
    return model_options(settings, 24, 2, is_default, loading or Loading())


def test_without_settings_everything_is_the_models_own() -> None:
    assert options_of() == ModelOptions(num_sequences=24, num_threads=2)


def test_every_setting_has_its_option() -> None:
    options = options_of(
        "--chat-context-tokens=4096",
        "--chat-gpu-layers=7",
        "--chat-kv-type=q8_0",
        "--chat-flash-attention=on",
        "--chat-lora=/a/one.gguf, b/two.gguf=-0.5,x=y.gguf",
        "--chat-rope-scaling=yarn",
        "--chat-rope-freq-base=1e6",
        "--chat-rope-freq-scale=0.25",
    )
    assert options.context_tokens == 4096
    assert options.num_gpu_layers == 7
    assert options.kv_type == "q8_0"
    assert options.flash_attention == "on"
    assert options.rope == Rope("yarn", 1e6, 0.25)
    assert options.loras == (
        Lora(Path("/a/one.gguf"), 1.0),
        Lora(PROJECT_DIR / "b/two.gguf", -0.5),
        Lora(PROJECT_DIR / "x=y.gguf", 1.0),
    )


def test_what_is_made_for_the_default_model_is_for_no_other() -> None:
    flags = ("--chat-lora=a.gguf", "--chat-rope-scaling=yarn", "--chat-kv-type=q8_0")
    other = options_of(*flags, is_default=False)
    assert (other.loras, other.rope, other.kv_type) == ((), Rope(), "q8_0")


def test_what_is_set_for_the_model_wins_over_the_settings() -> None:
    flags = ("--chat-context-tokens=4096", "--chat-gpu-layers=7", "--chat-kv-type=q8_0")
    loading = Loading(context_tokens=0, gpu_layers=0, kv_type="f16")
    options = options_of(*flags, loading=loading)
    assert (options.context_tokens, options.num_gpu_layers, options.kv_type) == (0, 0, "f16")


@pytest.mark.parametrize(
    ("free_gb", "kv_type", "num_tokens"),
    [
        (1000, "f16", TRAINED),
        (32, "f16", 15_104),
        (32, "q8_0", 28_672),
        (32, "q4_0", 54_016),
        (0, "f16", MIN_CONTEXT_TOKENS),
        (-3, "f16", MIN_CONTEXT_TOKENS),
    ],
)
def test_two_contexts_of_the_default_length_fit_an_eighth_of_the_free_memory(
    free_gb: float, kv_type: str, num_tokens: int
) -> None:
    options = ModelOptions(free_bytes=free_gb * 1e9, kv_type=kv_type)  # type: ignore[arg-type]
    assert fitted_context(options, TRAINED, NUM_VALUES) == num_tokens


def test_a_model_that_was_trained_on_little_has_no_more_whatever_is_free() -> None:
    assert fitted_context(ModelOptions(), 1024, NUM_VALUES) == 1024
    assert fitted_context(ModelOptions(free_bytes=0), 1024, NUM_VALUES) == 1024


def test_a_wanted_context_is_given_up_to_what_the_model_was_trained_on() -> None:
    assert fitted_context(ModelOptions(context_tokens=5000), 8192, NUM_VALUES) == 5000
    assert fitted_context(ModelOptions(context_tokens=50_000), 8192, NUM_VALUES) == 8192


def test_a_wanted_context_that_does_not_fit_is_refused_unless_it_lies_on_a_gpu() -> None:
    wanted = ModelOptions(context_tokens=TRAINED, free_bytes=8e9)
    with pytest.raises(Unavailable, match=r"131,072 tokens take 34\.4 GB of memory; 8\.0 GB"):
        fitted_context(wanted, TRAINED, NUM_VALUES)
    assert fitted_context(wanted, TRAINED, NUM_VALUES, in_ram=False) == TRAINED


@pytest.mark.parametrize(
    ("rope", "wanted", "num_tokens", "freq_scale"),
    [
        (Rope("yarn"), 32_768, 32_768, 0.25),
        (Rope("linear"), 16_384, 16_384, 0.5),
        (Rope("yarn"), 4096, 4096, 1.0),
        (Rope("yarn"), 0, 8192, 1.0),
        (Rope("yarn", freq_scale=0.5), 32_768, 16_384, 0.5),
        (Rope(freq_scale=0.5), 0, 16_384, 0.5),
        (Rope(freq_base=1e6), 32_768, 32_768, 0),
        (Rope("none"), 32_768, 8192, 0),
        (Rope(), 32_768, 8192, 0),
    ],
)
def test_scaling_reaches_as_far_as_it_is_told(
    rope: Rope, wanted: int, num_tokens: int, freq_scale: float
) -> None:
    options = ModelOptions(context_tokens=wanted, rope=rope)
    assert fitted_context(options, 8192, NUM_VALUES) == num_tokens
    assert fitted_freq_scale(rope, 8192, num_tokens) == freq_scale
