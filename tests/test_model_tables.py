"""What stands in models/settings.toml is understood, or said to be wrong with line, key and value."""

from pathlib import Path
from typing import Any

import pytest

from engine_room.model_tables import ForOne, SamplingDefaults, Seen, Tables, read
from engine_room.schemas_chat import SamplingFields

ONE = '["a-model"]\n'


def tables_of(folder: Path, text: str, has_flash_attention: bool = True) -> Tables:
    path = folder / "settings.toml"
    path.write_text(text, "utf-8")
    return read(path, has_flash_attention, {})


def test_everything_that_may_be_set_is_read(tmp_path: Path) -> None:
    (tmp_path / "plain.jinja").write_text("{{ messages[0].content }}", "utf-8")
    found = tables_of(
        tmp_path,
        ONE + 'context_tokens = 8192\ngpu_layers = -1\nkv_type = "q8_0"\ntemplate = "plain.jinja"\n'
        'system_prompt = "Be kind."\naliases = ["gpt-4o", "my coder"]\n'
        '["a-model".sampling]\ntemperature = 1\nlogit_bias = { 15 = -100 }\nstop = "x"\n'
        '["*"]\nsampling.top_p = 0.5\n',
    )
    assert found.problems == ()
    assert found.models["a-model"].model_dump(exclude_defaults=True) == {
        "context_tokens": 8192,
        "gpu_layers": -1,
        "kv_type": "q8_0",
        "template": "plain.jinja",
        "system_prompt": "Be kind.",
        "aliases": ["gpt-4o", "my coder"],
        "sampling": {"temperature": 1, "logit_bias": [(15, -100)], "stop": "x"},
    }
    assert found.templates == {"a-model": "{{ messages[0].content }}"}
    assert found.for_all.sampling.named() == {"top_p": 0.5}


# A value that each sampler takes and that is not its default.
SAMPLERS: dict[str, Any] = {
    "temperature": 0.1,
    "top_p": 0.2,
    "top_k": 3,
    "min_p": 0.4,
    "typical_p": 0.5,
    "top_n_sigma": 0.6,
    "repeat_penalty": 1.7,
    "repetition_penalty": 1.8,
    "repeat_last_n": 9,
    "presence_penalty": 1.0,
    "frequency_penalty": 1.1,
    "dry_multiplier": 1.2,
    "dry_base": 1.3,
    "dry_allowed_length": 14,
    "dry_penalty_last_n": 15,
    "dry_sequence_breakers": ["x"],
    "xtc_probability": 0.16,
    "xtc_threshold": 0.17,
    "mirostat": 2,
    "mirostat_tau": 1.8,
    "mirostat_eta": 1.9,
    "logit_bias": [(20, 2.0)],
    "seed": 21,
    "max_tokens": 22,
    "stop": ["y"],
}


def test_every_sampler_of_a_request_can_be_set() -> None:
    assert set(SAMPLERS) == {*SamplingFields.model_fields, "max_tokens", "stop"}
    for name, value in SAMPLERS.items():
        named = SamplingDefaults.model_validate({name: value}).named()
        assert named == {name.replace("repetition", "repeat"): value}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (ONE + "temprature = 1\n", 'line 2, ["a-model"] temprature: no such key here; temperature stands '
         'under ["a-model".sampling]'),
        (ONE + "gpu_layer = 1\n", 'gpu_layer: no such key; did you mean gpu_layers? there are: context_'),
        (ONE + "sampling.temprature = 1\n", "line 2, [\"a-model\"] sampling.temprature: no such key; "
         "did you mean temperature? there are: temperature, top_p"),
        (ONE + "\ntop_k = 3\n", 'line 3, ["a-model"] top_k: no such key here; top_k stands under '),
        ('["a-model".sampling]\ntemperature = "hot"\n', "line 2, [\"a-model\"] sampling.temperature: "
         "Input should be a valid number (got 'hot')"),
        (ONE + "sampling = { top_p = 2 }\n", "sampling.top_p: Input should be less than or equal to 1 "
         "(got '2')"),
        (ONE + "sampling.temperature = nan\n", "sampling.temperature: Input should be a finite number"),
        (ONE + 'context_tokens = "8192"\n', "context_tokens: Input should be a valid integer"),
        (ONE + "context_tokens = true\n", "context_tokens: Input should be a valid integer"),
        (ONE + "context_tokens = 63\n", 'line 2, ["a-model"] context_tokens: 63 tokens hold no'),
        (ONE + "gpu_layers = -2\n", "gpu_layers: Input should be greater than or equal to -1"),
        (ONE + 'kv_type = "q5_0"\n', "kv_type: Input should be 'f16', 'q8_0' or 'q4_0' (got 'q5_0')"),
        (ONE + 'aliases = "coder"\n', "aliases: Input should be a valid list (got 'coder')"),
        (ONE + 'aliases = [" x"]\n', 'line 2, ["a-model"] aliases: String should match'),
        (ONE + 'sampling.stop = ["a", 3]\n', "sampling.stop: Input should be a valid string (got '3')"),
        (ONE + "sampling = { repeat_penalty = 1.1, repetition_penalty = 1.2 }\n",
         "line 2, [\"a-model\"] sampling: repeat_penalty and repetition_penalty are one thing"),
        (ONE + 'template = "no.jinja"\n', "line 2, [\"a-model\"] template: the file 'no.jinja' in "),
        (ONE + 'template = "\\u0000"\n', 'line 2, ["a-model"] template: the file'),
        (ONE + 'template = "{% if %}"\n', "line 2, [\"a-model\"] template: '{% if %}' is no Jinja "
         "template: line 1: Expected an expression"),
        (ONE + 'template = "\\n"\n', "template: '\\n' is empty"),
        ('["*"]\naliases = ["x"]\n', 'line 2, ["*"] aliases: no such key; there are: context_tokens'),
        ("[qwen2.5-7b]\ntop_k = 1\n", 'a name with a dot in it needs quotes: ["qwen2.5-7b"]'),
        ("temperature = 1\n", 'line 1, ["temperature"]: no model\'s table; one begins with its id'),
        (ONE + "top_k = hot\n", "line 2, 'top_k = hot': Invalid value"),
        (ONE + ONE, "line 2, '[\"a-model\"]': Cannot declare"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_line_key_and_value(
    tmp_path: Path, text: str, said: str
) -> None:
    problems = tables_of(tmp_path, text).problems
    assert len(problems) == 1
    assert said in problems[0]
    assert str(tmp_path / "settings.toml") in problems[0]
    assert problems[0].endswith(".")


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    found = tables_of(tmp_path, ONE + 'gpu_layers = 1.5\nkv_type = "x"\n["b"]\nnone = 1\n')
    assert [problem.split(": ")[0].rsplit("/", 1)[1] for problem in found.problems] == [
        'settings.toml, line 2, ["a-model"] gpu_layers',
        'settings.toml, line 3, ["a-model"] kv_type',
        'settings.toml, line 5, ["b"] none',
    ]


def test_a_small_cache_without_flash_attention_is_a_contradiction(tmp_path: Path) -> None:
    text = ONE + 'kv_type = "q8_0"\n'
    assert tables_of(tmp_path, text).problems == ()
    (problem,) = tables_of(tmp_path, text, has_flash_attention=False).problems
    assert "kv_type: 'q8_0' needs flash attention, and CHAT_FLASH_ATTENTION is off" in problem


def test_a_file_that_is_none_or_no_text_is_said_and_one_that_is_not_there_is_empty(
    tmp_path: Path,
) -> None:
    path = tmp_path / "settings.toml"
    seen: Seen = {}
    assert read(path, True, seen) == Tables(path)
    assert seen == {path: None}
    path.write_bytes(b'["a"]\n# \xff\n')
    assert read(path, True, {}).problems == (f"{path}, line 2: it is no UTF-8.",)
    path.unlink()
    path.mkdir()
    assert "cannot be read: Is a directory" in read(path, True, {}).problems[0]


def test_a_file_as_notepad_writes_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_bytes(b'\xef\xbb\xbf["a"]\r\ncontext_tokens = 100\r\n')
    assert read(path, True, {}).models == {"a": ForOne(context_tokens=100)}
