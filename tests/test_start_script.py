"""The start script beside an install.py and a server that only print what they are given."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.skipif(os.name == "nt", reason="a POSIX shell script")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "a project"
    (root / ".venv/bin").mkdir(parents=True)
    (root / ".venv/bin/python").symlink_to(sys.executable)
    shutil.copy(PROJECT / "start_openai_api.sh", root)
    (root / "install.py").write_text("import sys\nprint('install', sys.argv[1:], flush=True)\n")
    (root / "openai_api.py").write_text("import os, sys\nprint(os.getcwd(), sys.argv[1:])\n")
    return root


def start(root: Path, *arguments: str, path: str = os.environ["PATH"]) -> tuple[int, str]:
    """Exit code, and all that was said."""
    command: list[str | Path] = ["/bin/sh", root / "start_openai_api.sh", *arguments]
    done = subprocess.run(
        command,
        cwd=root.parent,
        env={"PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.returncode, done.stdout


def test_it_installs_then_serves_from_its_own_folder_with_all_arguments(root: Path) -> None:
    assert start(root, "--port", "9000", "--name", "a b") == (
        0,
        "install ['--port', '9000', '--name', 'a b']\n"
        f"{root} ['--port', '9000', '--name', 'a b']\n",
    )


@pytest.mark.parametrize("flag", ["--install-only", "--dev"])
def test_it_stops_after_the_install_when_asked_to(root: Path, flag: str) -> None:
    assert start(root, flag) == (0, f"install ['{flag}']\n")


def test_it_does_not_serve_after_a_failed_install(root: Path) -> None:
    (root / "install.py").write_text("raise SystemExit(3)\n")
    assert start(root) == (3, "")


def test_it_says_what_to_do_when_there_is_no_python(root: Path) -> None:
    shutil.rmtree(root / ".venv")
    tools = root / "tools"
    tools.mkdir()
    (tools / "dirname").symlink_to(shutil.which("dirname") or "")
    code, said = start(root, path=str(tools))
    assert code == 1
    assert said.startswith("This needs Python 3.10 to 3.13, and none was found. Install one")
