"""One real server, as a user starts it, with the bundled models, for all acceptance tests."""

import atexit
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import openai
import pytest

from engine_room.catalogue import BUNDLED_FILE, BUNDLED_PACKAGE
from engine_room.packages import package_dir
from engine_room.xtts.folder import XttsFolder
from engine_room.xtts.studio import speaker_names

PROJECT_DIR = Path(__file__).resolve().parent.parent
pytest_plugins = ["tests.browser"]
# A real model is hundreds of times larger than the tiny one.
IS_REAL_XTTS = "XTTS_MODEL_DIR" in os.environ
REAL_XTTS_PATIENCE_S = 900
# llama_cpp opens /dev/null twice as it is imported and never closes it. Python says so when it exits if
# warnings are still errors then: what an engine's thread saved of the filters, it may restore after pytest.
atexit.register(warnings.filterwarnings, "ignore", "unclosed file.*/dev/null", ResourceWarning)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests of a real XTTS the time it takes."""
    for item in items:
        if IS_REAL_XTTS and "xtts_folder" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(2 * REAL_XTTS_PATIENCE_S))


@pytest.fixture(scope="session")
def bundled_gguf() -> Path:
    """The chat model that comes with the install."""
    folder = package_dir(BUNDLED_PACKAGE)
    assert folder
    return folder / BUNDLED_FILE


@dataclass(frozen=True)
class Server:
    """A running server: its address, its data folder, its process."""

    url: str
    folder: Path
    process: subprocess.Popen[str]

    def client(self, **options: object) -> openai.OpenAI:
        """The official client, pointed at it."""
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="dummy-key", max_retries=0)

    def http(self) -> httpx.Client:
        """A plain HTTP client for what the official one does not send."""
        return httpx.Client(base_url=self.url, timeout=100)


@contextmanager
def running_server(
    folder: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """`python openai_api.py` on a free port, its data in `folder`; stopped at the end."""
    flags = [
        f"--{name.replace('_', '-')}-dir={folder / name}"
        for name in ("models", "audio", "voice_clones")
    ]
    process = subprocess.Popen(
        [sys.executable, "openai_api.py", "--port=0", *flags, *arguments],
        cwd=PROJECT_DIR,
        env={**os.environ, **(environment or {})},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    log = (folder / "server.log").open("w")
    try:
        for line in process.stderr:
            log.write(line)
            if found := re.search(r"Serving on (https?)://localhost:(\d+)/v1", line):
                break
        else:
            pytest.fail(f"the server did not start: {(folder / 'server.log').read_text()}")
        drain = subprocess.Popen(["cat"], stdin=process.stderr, stdout=log)
        yield Server(f"{found[1]}://127.0.0.1:{found[2]}", folder, process)
    finally:
        process.terminate()
        process.wait(timeout=30)
        drain.wait(timeout=5)
        process.stderr.close()
        log.close()


@pytest.fixture
def http(own_server: Server) -> Iterator[httpx.Client]:
    """A plain client of the server that a module of tests has for its own."""
    with own_server.http() as http:
        yield http


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server that most acceptance tests share."""
    folder = tmp_path_factory.mktemp("server")
    for name in ("models", "audio", "voice_clones"):
        (folder / name).mkdir()
    with running_server(folder) as running:
        yield running


@pytest.fixture(scope="session")
def client(server: Server) -> Iterator[openai.OpenAI]:
    """The official client on the shared server."""
    with server.client() as client:
        yield client


@pytest.fixture(scope="session")
def xtts_folder(tmp_path_factory: pytest.TempPathFactory) -> XttsFolder:
    """The XTTS model in XTTS_MODEL_DIR, else a tiny one that speaks noise. What is converted for a CPU is not
    put beside the real one; copies of it are whole files, which a test may damage."""
    from tests.xtts_models import link_xtts, write_xtts

    path = tmp_path_factory.mktemp("xtts") / "xtts_v2"
    if IS_REAL_XTTS:
        return link_xtts(XttsFolder(Path(os.environ["XTTS_MODEL_DIR"])), path)
    return XttsFolder(write_xtts(path))


@pytest.fixture(scope="session")
def studio_speakers(xtts_folder: XttsFolder) -> list[str]:
    """The names of its studio speakers, two at least."""
    names = speaker_names(xtts_folder)
    if len(names) < 2:
        pytest.skip("the model in XTTS_MODEL_DIR has no two studio speakers")
    return names


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is all that Python finds packages in."""
    folder = tmp_path / "packages"
    folder.mkdir()
    monkeypatch.setattr(sys, "path", [str(folder)])
    # Found there, if another test used it.
    monkeypatch.delitem(sys.modules, "hibari", raising=False)
    return folder
