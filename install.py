"""Makes `.venv` and installs what the server needs into it, saying what it does and how far it is.

The start scripts run this before every start. It knows nothing of the server but that it listens
on HOST and PORT. Standard library only, Python 3.10 or later. Everything that pip says goes to
`install.log`, which is also the lock that keeps two starts from installing at once.
"""

import argparse
import contextlib
import errno
import hashlib
import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, NoReturn

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

RECIPE = 1  # raise it when every `.venv` made by an earlier install.py must be built anew
HOW_TO_GET_A_COMPILER = "Install a C++ compiler and start again: " + {
    "win32": "the 'Desktop development with C++' part of Visual Studio's Build Tools.",
    "darwin": "xcode-select --install",
}.get(sys.platform, "on Debian or Ubuntu, sudo apt install build-essential")
PARTS = {
    "core": "the server and its models",
    "cloning": "voice cloning (PyTorch and XTTS, a large download)",
    "dev": "what the tests need",
}
CLONING_MARK = "# --- Voice cloning"  # the line of requirements.txt where that part begins
FAILED = "failed "  # stands before the hash of a part that could not be installed
# Measured on Linux, with the downloads that pip keeps.
CORE_GB, CPU_CLONING_GB, CUDA_CLONING_GB = 2, 2, 9
NOTE_EVERY_S = 30
CPU_TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
OWN_PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
START = "start_openai_api.bat" if sys.platform == "win32" else "./start_openai_api.sh"


class InstallError(Exception):
    """What is wrong and what to do about it, in words for whoever started the server."""


@dataclass(frozen=True)
class Stamp:
    """What is in `.venv`, written when an install is complete; without it nothing is trusted."""

    recipe: int
    python: str  # as in "3.12"
    parts: dict[str, str]  # a name from PARTS -> hash of its requirements file, or FAILED + hash


class Installation:
    """The `.venv` in the folder `root`. Not thread-safe, but safe beside other processes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.venv = root / ".venv"
        self.python = self.venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        self.stamp_file = self.venv / "installed.json"
        self.requirements = root / "requirements.txt"
        self.dev_requirements = root / "requirements-dev.txt"
        self.log: IO[bytes]
        self.output_start = 0  # where in the log the last command's output begins

    def bring_up_to_date(self, *, with_dev: bool, retry_cloning: bool) -> None:
        """Install what is missing; with nothing missing, return at once without a word."""
        if not self._missing_parts(with_dev, retry_cloning):
            return
        # Commands inherit the open log and its lock with it: even a pip that outlives a killed
        # start keeps the next one waiting.
        with (self.root / "install.log").open("ab") as self.log:
            wait_for_lock(self.log)
            if missing := self._missing_parts(with_dev, retry_cloning):
                self.log.truncate(0)
                self._install(missing)

    def stamp(self) -> Stamp | None:
        """The stamp of the last complete install; None when there is none to trust."""
        try:
            stamp = Stamp(**json.loads(self.stamp_file.read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        return stamp if (stamp.recipe, stamp.python) == (RECIPE, self._venv_python()) else None

    def _venv_python(self) -> str:
        """Version of the Python in `.venv`, "" when it does not run (its base is gone)."""
        show = "import sys; print('%d.%d' % sys.version_info[:2])"
        try:
            return subprocess.check_output([self.python, "-c", show], text=True).strip()
        except (OSError, subprocess.CalledProcessError):
            return ""

    def _missing_parts(self, with_dev: bool, retry_cloning: bool) -> list[str]:
        there = stamp.parts if (stamp := self.stamp()) else {}
        core = hash_of(self.requirements)
        missing = [] if there.get("core") == core else ["core"]
        if there.get("cloning") not in ([core] if retry_cloning else [core, FAILED + core]):
            missing.append("cloning")
        if with_dev and there.get("dev") != hash_of(self.dev_requirements):
            missing.append("dev")
        return missing

    def _install(self, missing: list[str]) -> None:
        """Install the parts, and stamp `.venv` at the very end: a kill leaves none to trust."""
        old = self.stamp()
        self.stamp_file.unlink(missing_ok=True)
        num_steps = len(missing) + (old is None)
        if old is None:
            say(f"[1/{num_steps}] Making .venv with Python {OWN_PYTHON}")
            self._make_venv()
        parts = dict(old.parts) if old else {}
        core, cloning, dev = self._install_core, self._install_cloning, self._install_dev
        do = {"core": core, "cloning": cloning, "dev": dev}
        try:
            for step, part in enumerate(missing, num_steps - len(missing) + 1):
                say(f"[{step}/{num_steps}] Installing {PARTS[part]}")
                parts[part] = do[part]()
        except InstallError:
            if old is not None:  # pip gave up by itself: the old state stands, to be tried again
                self._write(old)
            raise
        self._write(Stamp(RECIPE, self._venv_python(), parts))
        say("Installed.")

    def _write(self, stamp: Stamp) -> None:
        draft = self.stamp_file.with_suffix(".draft")
        draft.write_text(json.dumps(asdict(stamp)), "utf-8")
        draft.replace(self.stamp_file)

    def _make_venv(self) -> None:
        if not importlib.util.find_spec("ensurepip"):  # Debian packages it apart
            command = f"sudo apt install python{OWN_PYTHON}-venv"
            raise InstallError(f"Python's venv module is missing. On Debian or Ubuntu: {command}")
        # Not sys.executable: it may be in the very `.venv` that is made anew.
        base = getattr(sys, "_base_executable", sys.executable)
        if not self._run(base, "-m", "venv", "--clear", self.venv):
            self._give_up(".venv could not be made")
        if (free_gb := self._free_gb()) < CORE_GB:
            needs = f"The install needs {CORE_GB} GB of disk space; {free_gb:.1f} GB are free"
            raise InstallError(f"{needs} in {self.root}: free some and start again.")
        self._pip("install", "--upgrade", "pip")  # older ones resolve slowly; no harm if it fails

    def _install_core(self) -> str:
        core = self.venv / "core-requirements.txt"
        core.write_text(self.requirements.read_text("utf-8").partition(CLONING_MARK)[0], "utf-8")
        for requirement in requirements_of(core, "llama-cpp-python"):
            self._install_llama(requirement)
        if not self._pip("install", "-r", core):
            self._give_up("the server's packages could not be installed")
        return hash_of(self.requirements)

    def _install_llama(self, requirement: str) -> None:
        """Compile llama.cpp, for the GPU if there is one; leave it to pip if that has a wheel."""
        if self._has(requirement):
            return
        own_args = os.environ.get("CMAKE_ARGS", "")
        special = own_args or (shutil.which("nvcc") and has_nvidia_gpu())
        # A wheel from the index will do, and but for a special build also one that pip kept from
        # an earlier build: without build isolation, pip fails at once where it would have to build.
        only = ("--only-binary", ":all:") if special else ("--no-build-isolation",)
        single = ("install", "--no-deps", requirement)
        if not own_args and self._pip(*single, "--dry-run", *only):
            return
        if not has_compiler():
            raise InstallError(f"llama.cpp has to be compiled here. {HOW_TO_GET_A_COMPILER}")
        if special and self._build_llama(requirement, own_args or "-DGGML_CUDA=on"):
            return
        if own_args:
            self._give_up(f"llama.cpp could not be built with CMAKE_ARGS={own_args}")
        say("      compiling llama.cpp: 5 to 10 minutes on two cores, this one time")
        if not self._pip(*single):
            self._give_up("llama.cpp could not be compiled")

    def _build_llama(self, requirement: str, cmake_args: str) -> bool:
        say(f"      compiling llama.cpp with {cmake_args}, which takes up to half an hour")
        # No cache, which does not tell builds with different CMAKE_ARGS apart.
        build = ("--no-deps", "--no-cache-dir", "--no-binary", "llama-cpp-python")
        if self._pip("install", *build, requirement, CMAKE_ARGS=cmake_args):
            return True
        say(f"      that failed (see install.log): {self._last_words()}")
        return False

    def _has(self, *requirements: str) -> bool:
        """Whether they are installed already (or are wheels in a folder that pip is set to)."""
        return self._pip("install", "--dry-run", "--no-index", "--no-deps", *requirements)

    def _install_cloning(self) -> str:
        """Hash of the requirements, behind FAILED when the server has to do without this part."""
        result = FAILED + hash_of(self.requirements)
        torch = requirements_of(self.requirements, "torch", "torchaudio")
        if torch and not self._has(*torch):
            index = torch_index()
            with_cuda = sys.platform == "linux" and not index.endswith("/cpu")
            needed_gb = CUDA_CLONING_GB if with_cuda else CPU_CLONING_GB
            if (free_gb := self._free_gb()) < needed_gb:
                say(f"      left out: it needs {needed_gb} GB of disk, {free_gb:.1f} GB are free")
                return result
            if index and not self._pip("install", "--index-url", index, *torch):
                say(f"      {index} does not have it all: taking PyTorch from pip's own index")
        # The whole file, so that one set of versions suits both parts.
        if not self._pip("install", "-r", self.requirements):
            say(f"      failed: {self._last_words()}")
            return result
        # pip does not notice a torchaudio built for another torch; importing it does.
        if not self._run(self.python, "-c", "import torch, torchaudio, TTS"):
            say(f"      installed, but does not work: {self._last_words()}")
            return result
        return hash_of(self.requirements)

    def _install_dev(self) -> str:
        if not self._pip("install", "-r", self.dev_requirements):
            self._give_up("what the tests need could not be installed")
        return hash_of(self.dev_requirements)

    def _free_gb(self) -> float:
        return shutil.disk_usage(self.root).free / 1e9

    def _pip(self, *arguments: str | Path, **environment: str) -> bool:
        # PIP_USER: a user's `user = true` in pip.conf would install outside `.venv`.
        environment = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_USER": "0"} | environment
        return self._run(self.python, "-I", "-m", "pip", *arguments, **environment)

    def _run(self, *command: str | Path, **environment: str) -> bool:
        """Whether the command succeeds. Its output goes to the log; a long one is remarked on."""
        self.log.write(f"\n$ {shlex.join(map(str, command))}\n".encode())
        self.log.flush()
        self.output_start = os.fstat(self.log.fileno()).st_size
        start_s = time.monotonic()
        process = subprocess.Popen(
            command,
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            env=os.environ | environment,
        )
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    return process.wait(timeout=NOTE_EVERY_S) == 0
                say(f"      ... {time.monotonic() - start_s:.0f} s")
        finally:
            process.terminate()  # does nothing once it has ended
            process.wait()

    def _last_words(self) -> str:
        """The line of the last command's output that best says why it failed."""
        output = (self.root / "install.log").read_bytes()[self.output_start :]
        lines = output.decode("utf-8", "replace").strip().splitlines()
        return ([line for line in lines if line.startswith("ERROR")] or lines or ["No word."])[-1]

    def _give_up(self, what: str) -> NoReturn:
        raise InstallError(
            f"The install stopped: {what}. {self._last_words()}\n"
            "All of pip's words are in install.log. Check the network connection and start again."
        )


def requirements_of(file: Path, *names: str) -> list[str]:
    """The requirements of these packages in a requirements file, without comments."""
    lines = [line.partition(" #")[0].strip() for line in file.read_text("utf-8").splitlines()]
    return [line for line in lines if re.split(r"[^\w-]", line)[0] in names]


def has_nvidia_gpu() -> bool:
    found = shutil.which("nvidia-smi")
    return bool(found and subprocess.run([found, "-L"], capture_output=True).returncode == 0)


def torch_index() -> str:
    """Where torch and torchaudio both come from, "" for pip's own index.

    On Linux, PyPI's builds carry gigabytes of CUDA libraries; without an NVIDIA GPU, PyTorch's
    index of CPU builds is better. TORCH_INDEX_URL overrules, and if empty means pip's own index.
    """
    for_cpu = sys.platform == "linux" and not has_nvidia_gpu()
    index = os.environ.get("TORCH_INDEX_URL", CPU_TORCH_INDEX if for_cpu else "").rstrip("/")
    if not index:
        return ""
    from urllib.request import urlopen  # here, since importing it takes longer than a second start

    try:
        urlopen(f"{index}/torch/", timeout=5).close()  # pip would try for minutes
    except (OSError, ValueError) as error:
        say(f"      {index} does not answer ({error}): taking PyTorch from pip's own index")
        return ""
    return index


def has_compiler() -> bool:
    """Whether CMake will find a C and a C++ compiler."""
    if sys.platform == "win32":
        folder = os.environ.get("PROGRAMFILES(X86)", "")
        return (Path(folder) / "Microsoft Visual Studio/Installer/vswhere.exe").exists()
    if sys.platform == "darwin":  # without the tools, /usr/bin/cc is a stub that opens a window
        return subprocess.run(["xcode-select", "-p"], capture_output=True).returncode == 0
    c = os.environ.get("CC", "cc gcc clang")
    cxx = os.environ.get("CXX", "c++ g++ clang++")
    return all(any(map(shutil.which, names.split())) for names in (c, cxx))


def check_port(host: str, port: int) -> None:
    """Raise InstallError when the server could not listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        why = "another program has that port; stop it, or" if taken else f"{error.strerror};"
        raise InstallError(
            f"The server cannot listen on {host}, port {port}: {why} choose other ones with "
            f"--host and --port, as in {START} --port {port + 1}"
        ) from None


def setting(name: str, flag: str | None, default: str) -> str:
    """A setting as the server will read it: from the flag, the environment, or `.env`."""
    env_file = Path(__file__).with_name(".env")
    lines = env_file.read_text("utf-8").splitlines() if env_file.exists() else []
    pairs = [line.removeprefix("export ").partition("=") for line in lines]
    found = {key.strip().upper(): text.partition(" #")[0].strip(" \"'") for key, _, text in pairs}
    return flag or os.environ.get(name) or found.get(name) or default


def wait_for_lock(file: IO[bytes]) -> None:
    """Lock the file until it is closed, here and in commands that write to it."""
    if try_lock(file):
        return
    say("Another start is installing here: waiting until it is done.")
    while not try_lock(file):
        time.sleep(0.5)


def try_lock(file: IO[bytes]) -> bool:
    try:
        if sys.platform == "win32":
            file.seek(1 << 30)  # Windows lets no one write to a locked byte: lock one far away
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            file.seek(0, os.SEEK_END)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def hash_of(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def say(text: str) -> None:
    print(text, flush=True)


def main() -> int:
    """0 when the server can start."""
    parser = argparse.ArgumentParser(START, add_help=False, allow_abbrev=False)
    parser.add_argument("--install-only", action="store_true")
    parser.add_argument("--dev", action="store_true")
    parser.add_argument("--host")
    parser.add_argument("--port")
    options, others = parser.parse_known_args()  # the others are the server's
    installation = Installation(Path(__file__).resolve().parent)
    # A kill by SIGTERM is to end pip too, as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        port = setting("PORT", options.port, "8001")
        asks = {"-h", "--help"} & set(others) or re.match(r"\w", " ".join(others))  # a command
        serves = not (options.install_only or options.dev or asks)
        if serves and port.isdecimal() and int(port) < 65536:  # else the server says what is wrong
            check_port(setting("HOST", options.host, "0.0.0.0"), int(port))
        retry = options.install_only and not options.dev
        installation.bring_up_to_date(with_dev=options.dev, retry_cloning=retry)
    except InstallError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. The next start installs anew.", file=sys.stderr)
        return 130
    stamp = installation.stamp()
    if stamp and stamp.parts["cloning"].startswith(FAILED):
        say(f"Voice cloning is not installed; all else works. To try again: {START} --install-only")
    return 0


if __name__ == "__main__":
    sys.exit(main())
