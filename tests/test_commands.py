"""`python openai_api.py <command>` does something else than serving, and ends."""

import subprocess
import sys

import pytest

from engine_room import commands
from tests.conftest import PROJECT_DIR


def run(*arguments: str) -> tuple[int, str]:
    """The exit code, and all that was said, without a terminal."""
    done = subprocess.run(
        [sys.executable, "openai_api.py", *arguments],
        cwd=PROJECT_DIR,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.returncode, done.stdout


def test_the_licence_of_xtts_is_shown_and_without_a_terminal_not_asked() -> None:
    code, said = run("xtts-license")
    assert code == 1
    assert "Coqui Public Model License" in said
    assert "ACCEPT_XTTS_LICENSE=true" in said


def test_an_unknown_command_is_refused_with_those_there_are() -> None:
    code, said = run("xtts-licence")
    assert code == 2
    assert "invalid choice: 'xtts-licence'" in said
    assert "xtts-license" in said


def test_the_servers_help_tells_the_commands() -> None:
    said = run("--help")[1]
    assert "openai_api.py xtts-license" in said
    assert "openai_api.py models" in said


@pytest.mark.parametrize("arguments", [[], ["--port", "9000"], ["-h"]])
def test_flags_are_left_to_the_server(arguments: list[str]) -> None:
    assert commands.run(arguments) is None  # type: ignore[func-returns-value]
