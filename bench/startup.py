"""How soon a fresh server answers, how fast it is once warm, and the memory it takes.

    .venv/bin/python -m bench.startup [--runs 5]

Each figure of the start is from a process of its own: from starting it to the first token, the first
byte of audio, the first transcript. Prints the median and the worst of the runs. Standard library only.
"""

import argparse
import http.client
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

PROJECT_DIR = Path(__file__).resolve().parent.parent
SHORT = "The train to the old harbour leaves at seven."
# About eleven seconds when spoken.
LONG = (
    "And so my fellow citizens, ask not what your country can do for you, ask what you can do for your "
    "country. My fellow citizens of the world, ask what together we can do for freedom."
)
CHAT = {
    "messages": [{"role": "user", "content": "Tell me a long story."}],
    "max_tokens": 20,
    "stream": True,
}


@dataclass(frozen=True)
class Server:
    """A fresh server process: when it was started, its port and its id."""

    started: float
    port: int
    pid: int

    def seconds(self) -> float:
        """Since the process was started."""
        return time.perf_counter() - self.started

    def whole(self, path: str, body: object = None, kind: str = "application/json") -> bytes:
        """The whole answer of a request, sent as soon as the server listens."""
        return b"".join(self.blocks(path, body, kind))

    def blocks(self, path: str, body: object = None, kind: str = "") -> Iterator[bytes]:
        """The answer as it comes. Raises RuntimeError unless the status is 200."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode() if body else None
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        while True:
            with suppress(ConnectionRefusedError):
                connection.connect()
                break
        headers = {"Content-Type": kind} if kind else {}
        connection.request("POST" if data else "GET", path, data, headers)
        answer = connection.getresponse()
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status} {answer.read()!r}")
        while block := answer.read1():
            yield block
        connection.close()

    def memory_mb(self) -> int:
        """Resident memory of the process."""
        listed = subprocess.run(
            ["ps", "-o", "rss=", "-p", str(self.pid)], capture_output=True, text=True, check=True
        )
        return int(listed.stdout) // 1024


@contextmanager
def fresh_server(models_dir: Path, *more_flags: str) -> Iterator[Server]:
    """A server on a free port with data folders of its own, but for the models."""
    with tempfile.TemporaryDirectory() as folder:
        port = _free_port()
        flags = [f"--port={port}", f"--models-dir={models_dir}", f"--audio-dir={folder}"]
        flags += ["--audio-keep-files=0", *more_flags]  # speech is made each time
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "openai_api.py", *flags],
            cwd=PROJECT_DIR,
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        try:
            yield Server(started, port, process.pid)
        finally:
            process.terminate()
            process.wait()


def _free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as unused:
        return int(unused.getsockname()[1])


def upload(sound: bytes) -> tuple[bytes, str]:
    """A multipart body and its content type."""
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp3"\r\n\r\n'
    return head + sound + b"\r\n--x--\r\n", "multipart/form-data; boundary=x"


def start_figures(models_dir: Path, sound: bytes) -> dict[str, float]:
    """Seconds from process start to each first answer, and the memory of an idle server."""
    figures = {}
    requests = {
        "first chat token": ("/v1/chat/completions", CHAT, "application/json"),
        "first audio byte": (
            "/v1/audio/speech",
            {"input": SHORT, "stream": True},
            "application/json",
        ),
        "first transcript": ("/v1/audio/transcriptions", *upload(sound)),
    }
    for name, request in requests.items():
        with fresh_server(models_dir) as server:
            next(server.blocks("/health"))
            figures["/health"] = server.seconds()
            next(server.blocks(*request))
            figures[name] = server.seconds()
    return figures


def warm_figures(models_dir: Path, sound: bytes) -> dict[str, float]:
    """Seconds of one request each on a server that has answered all three kinds before, and memory."""
    speech = ("/v1/audio/speech", {"input": SHORT}, "application/json")
    hear = ("/v1/audio/transcriptions", *upload(sound))
    chat = ("/v1/chat/completions", CHAT | {"max_tokens": 100}, "application/json")
    figures = {}
    with fresh_server(models_dir) as server:
        while json.loads(server.whole("/health"))["status"] != "ok":
            time.sleep(0.05)
        figures["memory idle, MB"] = float(server.memory_mb())
        for request in (speech, hear, chat):
            server.whole(*request)
        figures["memory after one of each, MB"] = float(server.memory_mb())
        for name, request in (
            ("short sentence as mp3, warm", speech),
            ("11 s transcribed, warm", hear),
            ("100 tokens of chat, warm", chat),
        ):
            begun = time.perf_counter()
            server.whole(*request)
            figures[name] = time.perf_counter() - begun
        begun = time.perf_counter()
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda request: server.whole(*request), (speech, hear, chat)))
        figures["all three at once, warm"] = time.perf_counter() - begun
    return figures


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs: list[dict[str, float]] = []
    models_dir = PROJECT_DIR / "models"
    with fresh_server(
        models_dir
    ) as server:  # joins the transcription model if need be, warms the disk
        sound = server.whole("/v1/audio/speech", {"input": LONG})
        server.whole("/v1/audio/transcriptions", *upload(sound))
    for _ in range(parser.parse_args().runs):
        runs.append(start_figures(models_dir, sound) | warm_figures(models_dir, sound))
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"{'seconds':<32}{'median':>9}{'worst':>9}")
    for name in runs[0]:
        values = [run[name] for run in runs]
        print(f"{name:<32}{statistics.median(values):>9.2f}{max(values):>9.2f}")


if __name__ == "__main__":
    main()
