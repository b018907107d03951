"""The licence is asked on a terminal, and the answer kept where the settings are read from."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine_room.settings import Settings
from tests.conftest import PROJECT_DIR

SETTING = "ACCEPT_XTTS_LICENSE"
ASK = (
    "import sys; from pathlib import Path; from engine_room.xtts.licence import ask; "
    "sys.exit(ask(Path(sys.argv[1])))"
)


def asked(folder: Path, answer: str | None, **environment: str) -> tuple[int, str]:
    """The exit code, and what was said, with a terminal on which something is typed, or with none."""
    command = [sys.executable, "-c", ASK, str(folder / ".env")]
    around = {key: value for key, value in os.environ.items() if key != SETTING} | environment

    def run(stdin: int) -> tuple[int, str]:
        done = subprocess.run(
            command, stdin=stdin, stdout=subprocess.PIPE, text=True, env=around, cwd=PROJECT_DIR
        )
        return done.returncode, done.stdout

    if answer is None:
        return run(subprocess.DEVNULL)
    pty = pytest.importorskip("pty", reason="there are terminals of another kind")
    terminal, typed = pty.openpty()
    try:
        os.write(terminal, answer.encode())
        return run(typed)
    finally:
        os.close(typed)
        os.close(terminal)


def accepted(folder: Path) -> bool:
    return Settings(_env_file=folder / ".env").accept_xtts_license


@pytest.fixture(autouse=True)
def _unanswered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SETTING, raising=False)


def test_who_agrees_has_it_kept_and_who_does_not_any_more_too(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("# mine\nOPENAI_API_KEYS=secret\nexport accept_xtts_license = 0\n")
    env_file.chmod(0o640)
    code, said = asked(tmp_path, "y\n")
    assert code == 0
    assert "non-commercial" in said
    assert "https://coqui.ai/cpml" in said
    assert "cloned voices speak from the server's next start" in said
    assert accepted(tmp_path)
    assert env_file.read_text() == f"# mine\nOPENAI_API_KEYS=secret\n{SETTING}=true\n"
    assert env_file.stat().st_mode & 0o777 == 0o640
    assert asked(tmp_path, "no\n")[0] == 1
    assert not accepted(tmp_path)
    assert list(tmp_path.iterdir()) == [env_file]


@pytest.mark.parametrize("answer", ["\n", "maybe\n", "N\n"])
def test_only_a_yes_is_a_yes(tmp_path: Path, answer: str) -> None:
    assert asked(tmp_path, answer)[0] == 1
    assert not accepted(tmp_path)


def test_without_a_terminal_nobody_is_waited_for_and_the_setting_is_named(tmp_path: Path) -> None:
    code, said = asked(tmp_path, None)
    assert code == 1
    assert f"set {SETTING}=true in the environment or in {tmp_path / '.env'}" in said
    assert list(tmp_path.iterdir()) == []


def test_an_environment_that_says_otherwise_is_said(tmp_path: Path) -> None:
    assert f"But {SETTING}=0" in asked(tmp_path, "y\n", **{SETTING: "0"})[1]


def test_an_answer_that_cannot_be_kept_is_said(tmp_path: Path) -> None:
    code, said = asked(tmp_path / "nowhere", "y\n")
    assert code == 1
    assert "cannot be kept in" in said
