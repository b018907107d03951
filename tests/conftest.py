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

from engine_room.xtts.folder import XttsFolder

PROJECT_DIR = Path(__file__).resolve().parent.parent
# llama_cpp opens /dev/null twice as it is imported and never closes it. Python says so when it exits if
# warnings are still errors then: what an engine's thread saved of the filters, it may restore after pytest.
atexit.register(warnings.filterwarnings, "ignore", "unclosed file.*/dev/null", ResourceWarning)


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
            if found := re.search(r"Serving on http://localhost:(\d+)/v1", line):
                break
        else:
            pytest.fail(f"the server did not start: {(folder / 'server.log').read_text()}")
        drain = subprocess.Popen(["cat"], stdin=process.stderr, stdout=log)
        yield Server(f"http://127.0.0.1:{found[1]}", folder, process)
    finally:
        process.terminate()
        process.wait(timeout=30)
        drain.wait(timeout=5)
        process.stderr.close()
        log.close()


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
    """The XTTS model in XTTS_MODEL_DIR, else a tiny one that speaks noise."""
    from tests.xtts_models import write_xtts

    if real := os.environ.get("XTTS_MODEL_DIR"):
        return XttsFolder(Path(real))
    return XttsFolder(write_xtts(tmp_path_factory.mktemp("xtts") / "xtts_v2"))
