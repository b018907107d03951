"""The README is true: its examples run, and its tables say what the code says."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from engine_room.catalogue import LISTED_NAMES, SPEECH_NAMES
from engine_room.encoding import FORMATS
from engine_room.engines import make_engines
from engine_room.settings import Settings
from engine_room.standard_voices import STANDARD_VOICES
from engine_room.whisper_models import NAMES as TRANSCRIPTION_NAMES
from openai_api import create_app
from tests.conftest import PROJECT_DIR, Server
from tests.test_clips import speech, wav

README = (PROJECT_DIR / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language: the first is about everything, the second about a cloned voice."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def run(command: list[str], server: Server, folder: Path, script: str) -> str:
    at_the_server = script.replace("http://localhost:8001", server.url)
    done = subprocess.run(
        command, cwd=folder, input=at_the_server, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_python_example_chats_speaks_and_transcribes(server: Server, tmp_path: Path) -> None:
    said = run([sys.executable, "-"], server, tmp_path, blocks("python")[0])
    assert said.strip().rstrip(".!").endswith("Hello from your local server")
    assert (tmp_path / "output.mp3").stat().st_size > 10_000


def test_the_curl_examples_answer(server: Server, tmp_path: Path) -> None:
    said = run(["bash", "-e", "-o", "pipefail"], server, tmp_path, blocks("bash")[0])
    assert '"id":"mistral-7b-instruct-v0.2"' in said
    assert '"object":"chat.completion"' in said
    assert "hello from curl" in said.lower().replace(",", "").replace("carl", "curl").replace(
        "girl", "curl"
    )
    assert '"status":"ok"' in said


@pytest.mark.parametrize(
    ("language", "command", "said_of_the_voice"),
    [
        ("bash", ["bash", "-e", "-o", "pipefail"], ('"type":"audio_sample"', '"deleted":true')),
        ("python", [sys.executable, "-"], ("Grandma audio_sample", "True")),
    ],
)
def test_the_examples_of_your_own_voice_add_it_and_delete_it(
    server: Server,
    tmp_path: Path,
    language: str,
    command: list[str],
    said_of_the_voice: tuple[str, str],
) -> None:
    (tmp_path / "grandma.wav").write_bytes(wav(speech(8)))
    _, example = blocks(language)
    said = run(command, server, tmp_path, example)
    assert all(expected in said for expected in said_of_the_voice)
    assert list((server.folder / "voice_clones").iterdir()) == []


def settings_table() -> str:
    rows = []
    for name, field in Settings.model_fields.items():
        default = field.get_default()
        shown = {(): "none", "": "none", True: "true"}.get(default, default)
        if name.endswith("_dir"):
            shown = f"{default}/"
        rows.append(f"| `{name.upper()}` | `{shown}` | {field.description} |")
    return "\n".join(rows)


def metrics_table() -> str:
    rows = []
    for metric in make_engines(Settings(_env_file=None)).metrics.registry.collect():
        if metric.name.startswith("openai_api_"):
            name = f"{metric.name}_total" if metric.type == "counter" else metric.name
            rows.append(f"| `{name}` | {metric.type} | {metric.documentation.rstrip('.')} |")
    return "\n".join(rows)


def voices_table() -> str:
    cells = [f"`{voice.id}` | {voice.description}" for voice in STANDARD_VOICES.values()]
    half = (len(cells) + 1) // 2
    rows = zip(cells[:half], [*cells[half:], " | "][:half], strict=True)
    return "\n".join(f"| {left} | {right} |" for left, right in rows)


def test_the_settings_table_is_what_the_settings_are() -> None:
    assert settings_table() in README


def test_the_metrics_table_is_what_the_metrics_are() -> None:
    assert metrics_table() in README


def test_the_voices_table_is_what_the_voices_are() -> None:
    assert voices_table() in README


@pytest.mark.parametrize("name", [*LISTED_NAMES, *SPEECH_NAMES, *TRANSCRIPTION_NAMES, *FORMATS])
def test_every_name_that_answers_is_in_the_readme(name: str) -> None:
    assert name in README


def test_every_route_is_in_the_readme_and_in_the_docstring_of_the_api() -> None:
    routes = create_app(Settings()).openapi()["paths"]
    docstring = ast.get_docstring(ast.parse((PROJECT_DIR / "openai_api.py").read_text())) or ""
    for path, methods in routes.items():
        for method in methods:
            assert f"{method.upper()} {path}".replace("{model_id}", "{id}") in README
            assert re.search(rf"{method.upper()} +{re.escape(path)}(?!\S)", docstring)


def test_every_route_has_a_summary_its_schemas_and_an_example_if_it_takes_a_body() -> None:
    api = create_app(Settings()).openapi()
    for path, methods in api["paths"].items():
        for method, route in methods.items():
            assert route["description"], path
            assert "200" in route["responses"]
            assert "4XX" in route["responses"] or path == "/health"
            if method == "post" and "application/json" in route["requestBody"]["content"]:
                schema = route["requestBody"]["content"]["application/json"]["schema"]
                name = schema.get("$ref", "").rsplit("/", 1)[-1]
                assert name == "" or api["components"]["schemas"][name]["examples"]


def test_the_data_folders_say_what_belongs_in_them_and_git_ignores_the_rest() -> None:
    for name in ("voice_clones", "audio", "models"):
        assert (PROJECT_DIR / name / "README.md").read_text()
        ignored = subprocess.run(
            ["git", "check-ignore", f"{name}/anything.bin"], cwd=PROJECT_DIR, check=False
        )
        assert ignored.returncode == 0


def test_the_files_that_the_readme_shows_or_links_to_are_there() -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)]+)\)", README)
    assert "pictures/talk.png" in links
    assert [link for link in links if not (PROJECT_DIR / link).is_file()] == []
