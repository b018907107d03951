"""Two chat models on a real server: first tokens, memory, and who reloads what; a part of `bench.models`.

The models are two copies of the bundled one, as files of their own. Cold: the model is not in memory, its
file is in the system's cache. Warm: it is. Swap: another one, idle, has to make room. The three are asked in
turn, each round anew. The alternating clients ask for four tokens a hundred times each, both at once, of
models that do not fit together.
"""

import argparse
import json
import re
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from bench.clients import bundled_model
from bench.startup import Server, fresh_server

FIRST, SECOND = "first", "second"
NUM_REQUESTS = 100
MAX_LOADS = 20
PAUSE_S = 2.0  # longer than an idle model is kept for who comes back


@contextmanager
def two_models(*flags: str) -> Iterator[Server]:
    """A server with both, of which the first is the default and is there."""
    with tempfile.TemporaryDirectory() as name:
        for model in (FIRST, SECOND):
            shutil.copyfile(bundled_model(), Path(name, f"{model}.gguf"))
        with fresh_server(Path(name), f"--chat-model={FIRST}", *flags) as server:
            posted(server, "load", FIRST)
            yield server


def posted(server: Server, deed: str, model: str) -> None:
    """Load or unload a model."""
    server.whole(f"/v1/models/{deed}", {"model": model})


def first_token_s(server: Server, model: str) -> float:
    """From a request to the first token of its answer, in seconds."""
    begun = time.perf_counter()
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}
    blocks = server.blocks("/v1/chat/completions", body | {"stream": True}, "application/json")
    for block in blocks:
        if b'"content":"' in block and b'"content":""' not in block:
            break
    seconds = time.perf_counter() - begun
    list(blocks)
    return seconds


def num_loads(server: Server) -> int:
    """Chat models loaded since the start."""
    found = re.search(rb'model_loads_total{engine="chat"} (\d+)', server.whole("/metrics"))
    return int(found[1]) if found else 0


def alternating(server: Server) -> list[float]:
    """The seconds of each request of two clients, of which each asks for its model again and again."""

    def client(model: str) -> list[float]:
        body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}
        seconds = []
        for _ in range(NUM_REQUESTS):
            begun = time.perf_counter()
            json.loads(server.whole("/v1/chat/completions", body))
            seconds.append(time.perf_counter() - begun)
        return seconds

    with ThreadPoolExecutor(2) as clients:
        both = clients.map(client, (FIRST, SECOND))
        return [seconds for each in both for seconds in each]


def in_memory(options: argparse.Namespace) -> None:
    """First tokens of a cold and a warm model and of a swap, memory before and after, two clients in turn."""
    tokens: dict[str, list[float]] = {"cold": [], "warm": [], "swap": []}
    memory: dict[str, list[int]] = {"before": [], "loaded": [], "after": []}
    loads, waits = [], []
    for _ in range(options.runs):
        with two_models() as server:
            first_token_s(server, SECOND)
            posted(
                server, "unload", SECOND
            )  # what the library keeps from its first use is there now
            memory["before"].append(server.memory_mb())
            tokens["cold"].append(first_token_s(server, SECOND))
            tokens["warm"].append(first_token_s(server, SECOND))
            memory["loaded"].append(server.memory_mb())
            posted(server, "unload", SECOND)
            memory["after"].append(server.memory_mb())
        with two_models("--chat-memory-mb=150") as server:
            first_token_s(server, FIRST)
            time.sleep(PAUSE_S)
            tokens["swap"].append(first_token_s(server, SECOND))
            before = num_loads(server)
            waits.append(max(alternating(server)))
            loads.append(num_loads(server) - before)
    print("| first token, ms | median | worst |\n|---|---|---|")
    for name, seconds in tokens.items():
        print(f"| {name} | {statistics.median(seconds) * 1000:.0f} | {max(seconds) * 1000:.0f} |")
    print("\n| memory of the server, MB | median |\n|---|---|")
    for name, sizes in memory.items():
        print(f"| {name} | {statistics.median(sizes):.0f} |")
    print(
        f"\n{2 * NUM_REQUESTS} requests of two clients: at most {max(loads)} loads (reach: <= {MAX_LOADS}), "
        f"longest wait {max(waits):.1f} s"
    )
