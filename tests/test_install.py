"""Installs for real, into folders of its own, from wheels of a few bytes and without a network."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

import install

PROJECT = Path(__file__).resolve().parent.parent
REQUIREMENTS = f"tiny-core==1\n{install.CLONING_MARK}\ntiny-cloning==1\n"
NO_CLONING = (
    "Voice cloning is not installed; all else works. "
    f"To try again: {install.START} --install-only\n"
)
not_on_windows = pytest.mark.skipif(os.name == "nt", reason="POSIX signals and locks")
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere not found by PATH")


def make_wheel(folder: Path, name: str, *modules: str) -> None:
    """A wheel of version 1 with empty modules."""
    info = f"{name}-1.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1-py3-none-any.whl", "w") as wheel:
        for module in modules:
            wheel.writestr(f"{module}.py", "")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        tags = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        wheel.writestr(f"{info}/WHEEL", tags)
        wheel.writestr(f"{info}/RECORD", "")


class World:
    """A folder with install.py, requirements, and the only wheels that pip can find."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.wheels = root / "wheels"
        self.requirements = root / "requirements.txt"
        self.stamp = root / ".venv/installed.json"
        self.environment = os.environ | {
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_FIND_LINKS": str(self.wheels),
            "PIP_NO_INDEX": "1",
            "TORCH_INDEX_URL": "",
            "PORT": "0",
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, self.root / "install.py", *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def install(self, *arguments: str) -> tuple[int, str]:
        """Exit code, and what was said."""
        with self.start(*arguments) as process:
            said = process.communicate()[0]
        return process.returncode, said

    def has_module(self, name: str) -> bool:
        python = install.Installation(self.root).python
        return subprocess.run([python, "-c", f"import {name}"], capture_output=True).returncode == 0


def fill(root: Path) -> World:
    """A world with nothing installed yet."""
    world = World(root)
    world.wheels.mkdir(parents=True)
    make_wheel(world.wheels, "tiny_core", "tiny_core")
    make_wheel(world.wheels, "tiny_cloning", "torch", "torchaudio", "TTS")
    make_wheel(world.wheels, "tiny_dev", "tiny_dev")
    shutil.copy(PROJECT / "install.py", root)
    world.requirements.write_text(REQUIREMENTS)
    (root / "requirements-dev.txt").write_text("tiny-dev==1\n")
    return world


@pytest.fixture(scope="module")
def first_install(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, str]:
    """A finished install and what it said, over the remains of one that never got its stamp.

    Tests that change it take a copy, `installed`.
    """
    world = fill(tmp_path_factory.mktemp("first") / "project")
    (world.root / ".venv").mkdir()
    (world.root / ".venv/left_over").touch()
    code, said = world.install()
    assert code == 0, said
    return world, said


@pytest.fixture
def installed(first_install: tuple[World, str], tmp_path: Path) -> World:
    return World(shutil.copytree(first_install[0].root, tmp_path / "copy", symlinks=True))


@contextmanager
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_first_install_says_each_step_and_installs_both_parts(
    first_install: tuple[World, str],
) -> None:
    world, said = first_install
    assert said.splitlines() == [
        f"[1/3] Making .venv with Python {install.OWN_PYTHON}",
        "[2/3] Installing the server and its models",
        "[3/3] Installing voice cloning (PyTorch and XTTS, a large download)",
        "Installed.",
    ]
    assert world.has_module("tiny_core")
    assert world.has_module("TTS")


def test_a_venv_without_a_stamp_is_made_anew(first_install: tuple[World, str]) -> None:
    assert not (first_install[0].root / ".venv/left_over").exists()


def test_a_second_start_does_nothing_and_says_nothing_even_in_a_moved_folder(
    installed: World,
) -> None:
    shutil.rmtree(installed.wheels)
    (installed.root / "install.log").unlink()
    assert installed.install() == (0, "")
    assert not (installed.root / "install.log").exists()


def test_changed_requirements_are_installed_into_the_venv_that_is_there(installed: World) -> None:
    make_wheel(installed.wheels, "tiny_more", "tiny_more")
    installed.requirements.write_text("tiny-more==1\n" + REQUIREMENTS)
    (installed.root / ".venv/left_over").touch()
    assert installed.install()[0] == 0
    assert installed.has_module("tiny_more")
    assert (installed.root / ".venv/left_over").exists()


def test_an_upgrade_that_pip_refuses_says_why_and_leaves_the_old_install_trusted(
    installed: World,
) -> None:
    installed.requirements.write_text("tiny-typo==1\n" + REQUIREMENTS)
    code, said = installed.install()
    assert code == 1
    assert "No matching distribution found for tiny-typo==1" in said
    assert "install.log" in said
    installed.requirements.write_text(REQUIREMENTS)
    assert installed.install() == (0, "")


@not_on_windows
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_killed_install_leaves_nothing_that_is_trusted(
    installed: World, how: signal.Signals
) -> None:
    installed.requirements.write_text("# changed\n" + REQUIREMENTS)
    with installed.start() as process:
        assert process.stdout is not None
        process.stdout.readline()  # the first step has begun
        process.send_signal(how)
    assert process.returncode != 0
    assert install.Installation(installed.root).stamp() is None


def test_without_voice_cloning_the_server_starts_and_each_start_says_so_until_it_is_retried(
    installed: World,
) -> None:
    installed.requirements.write_text(REQUIREMENTS + "tiny-extra==1\n")
    code, said = installed.install()
    assert code == 0
    assert "No matching distribution found for tiny-extra==1" in said
    assert said.endswith("Installed.\n" + NO_CLONING)
    make_wheel(installed.wheels, "tiny_extra", "tiny_extra")
    assert installed.install() == (0, NO_CLONING)
    assert installed.install("--install-only")[0] == 0
    assert installed.has_module("tiny_extra")
    assert installed.install() == (0, "")


def test_dev_also_installs_what_the_tests_need_and_only_once(installed: World) -> None:
    assert installed.install("--dev") == (
        0,
        "[1/1] Installing what the tests need\nInstalled.\n",
    )
    assert installed.has_module("tiny_dev")
    assert installed.install("--dev") == (0, "")


@not_on_windows
def test_a_start_waits_while_another_installs(installed: World) -> None:
    import fcntl

    installed.requirements.write_text("# changed\n" + REQUIREMENTS)
    with (installed.root / "install.log").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        process = installed.start()
        assert process.stdout is not None
        waiting = "Another start is installing here: waiting until it is done.\n"
        assert process.stdout.readline() == waiting
    assert process.communicate()[0].endswith("Installed.\n")
    assert process.returncode == 0


@linux_only
def test_a_missing_compiler_is_said_with_the_way_to_get_one(installed: World) -> None:
    installed.requirements.write_text("llama-cpp-python==0.3.36\n" + REQUIREMENTS)
    installed.environment["CC"] = "no-such-compiler"
    code, said = installed.install()
    assert code == 1
    assert "llama.cpp has to be compiled here. Install a C++ compiler" in said


def test_a_wheel_of_llama_cpp_that_pip_finds_needs_no_compiler(installed: World) -> None:
    make_wheel(installed.wheels, "llama_cpp_python", "llama_cpp")
    installed.requirements.write_text("llama-cpp-python==1\n" + REQUIREMENTS)
    installed.environment["CC"] = "no-such-compiler"
    code, said = installed.install()
    assert (code, "compil" in said) == (0, False)
    assert installed.has_module("llama_cpp")


@pytest.mark.parametrize("given", ["flag", "environment", ".env file"])
def test_a_taken_port_is_said_before_anything_is_installed(tmp_path: Path, given: str) -> None:
    world = fill(tmp_path / "project")
    del world.environment["PORT"]
    with taken_port() as port:
        if given == "environment":
            world.environment["PORT"] = str(port)
        if given == ".env file":
            (world.root / ".env").write_text(f"OTHER=1\nport = '{port}'  # mine\n")
        code, said = world.install(*([f"--port={port}"] if given == "flag" else []))
    assert code == 1
    assert f"port {port}: another program has that port" in said
    assert f"{install.START} --port {port + 1}" in said
    assert not (world.root / ".venv").exists()


def test_a_taken_port_does_not_matter_when_nothing_is_served(installed: World) -> None:
    with taken_port() as port:
        assert installed.install("--install-only", f"--port={port}") == (0, "")
        assert installed.install("xtts-license", f"--port={port}") == (0, "")


class Answer(BaseHTTPRequestHandler):
    """Says yes to /cpu/torch/, no to all else."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/cpu/torch/" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_torch_comes_from_the_index_that_is_set_as_long_as_it_answers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("TORCH_INDEX_URL", f"{address}/cpu/")
        assert install.torch_index() == f"{address}/cpu"
        assert capsys.readouterr().out == ""
        monkeypatch.setenv("TORCH_INDEX_URL", f"{address}/gone")
        assert install.torch_index() == ""
        assert "taking PyTorch from pip's own index" in capsys.readouterr().out
        server.shutdown()
    monkeypatch.setenv("TORCH_INDEX_URL", "")
    assert install.torch_index() == ""


def test_the_project_requirements_are_in_two_parts_with_torch_and_torchaudio_in_the_second() -> (
    None
):
    core, mark, _ = (PROJECT / "requirements.txt").read_text().partition(install.CLONING_MARK)
    assert mark
    assert "torch" not in core
    assert "\nllama-cpp-python==" in core
    found = install.requirements_of(PROJECT / "requirements.txt", "torch", "torchaudio")
    assert [requirement.partition(">")[0] for requirement in found] == ["torch", "torchaudio"]
