"""Models on their way: how fast one is fetched, comes into memory and goes, and the memory that takes.

    .venv/bin/python -m bench.models download [--runs 3] [--mb 1000] [--folder DIR]
    .venv/bin/python -m bench.models memory [--runs 3]

download: one file from a hub on this machine, by our Fetcher and by curl in turn, each in a process of its
own, the first of a round another one each time. Ours checks the hash and has the file on the disk when it is
done; curl does neither, so the time of syncing its file is told beside it. Printed are medians, and of each
round's rate, to curl's, the median, the lowest and the highest.

memory: see `bench.models_in_memory`.
"""

import argparse
import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from bench.clients import PROJECT_DIR, program
from bench.models_in_memory import in_memory
from engine_room.fetch_plan import plan_for
from engine_room.fetching import Fetcher, Progress
from engine_room.hub import Hub
from engine_room.offers import Offers
from tests.local_hub import Repo, local_hub

REPOSITORY, FILE = "me/large", "large.gguf"
OURS, CURL, SYNCED = "this server", "curl", "curl, synced to disk"
MB = 1_000_000


def run_hub(num_mb: str) -> None:
    """Serve one large file until told to stop; the address goes to stdout."""
    block = random.Random(0).randbytes(MB)
    with local_hub(me__large=Repo({FILE: block * int(num_mb)})) as hub:
        Hub(hub.url).repository(REPOSITORY)  # which computes its hash
        print(hub.url, flush=True)
        sys.stdin.read()


@contextmanager
def running_hub(num_mb: int) -> Iterator[str]:
    """The address of a hub in a process of its own."""
    command = program("bench.models", "run_hub", str(num_mb))
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=PROJECT_DIR, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin
        assert process.stdout
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()


def run_fetch(url: str, folder: str) -> None:
    """Fetch the file, and print the seconds, and the megabytes of memory before and at most."""
    hub, process = Hub(url), psutil.Process()
    plan = plan_for(REPOSITORY, Offers(Path(folder)), hub)
    before = peak = process.memory_info().rss

    def look(_: Progress) -> None:
        nonlocal peak
        peak = max(peak, process.memory_info().rss)

    begun = time.perf_counter()
    Fetcher(hub, Path(folder)).fetch(plan, look, threading.Event())
    seconds = time.perf_counter() - begun
    print(json.dumps([seconds, before / MB, peak / MB]))


def fetched(url: str, folder: Path) -> dict[str, float]:
    """One download by ours."""
    command = program("bench.models", "run_fetch", url, str(folder))
    done = subprocess.run(command, cwd=PROJECT_DIR, stdout=subprocess.PIPE, check=True)
    seconds, before, peak = json.loads(done.stdout)
    return {OURS: seconds, "before": before, "peak": peak}


def curled(url: str, folder: Path) -> dict[str, float]:
    """One download by curl, and how long it is until that is on the disk."""
    file = folder / FILE
    begun = time.perf_counter()
    address = f"{url}/{REPOSITORY}/resolve/main/{FILE}"
    subprocess.run(["curl", "-sSfL", "-o", str(file), address], check=True)
    seconds = time.perf_counter() - begun
    with file.open("r+b") as written:
        os.fsync(written.fileno())
    return {CURL: seconds, SYNCED: time.perf_counter() - begun}


def download(options: argparse.Namespace) -> None:
    """Our Fetcher and curl in turn."""
    if shutil.which("curl") is None:
        sys.exit("curl is not installed here.")
    rounds: list[dict[str, float]] = []
    with running_hub(options.mb) as url:
        for number in range(options.runs):
            found: dict[str, float] = {}
            for deed in ((fetched, curled), (curled, fetched))[number % 2]:
                with tempfile.TemporaryDirectory(dir=options.folder) as folder:
                    found |= deed(url, Path(folder))
            rounds.append(found)
    print(
        f"{options.mb} MB from a hub on this machine, {options.runs} rounds; reach: >= 0.8 of curl\n"
    )
    print("| download | MB/s | rate of ours to it |\n|---|---|---|")
    for name in (OURS, CURL, SYNCED):
        rate = statistics.median(options.mb / each[name] for each in rounds)
        ratio = spread([each[name] / each[OURS] for each in rounds]) if name != OURS else ""
        print(f"| {name} | {rate:.0f} | {ratio} |")
    before, peak = (statistics.median(each[name] for each in rounds) for name in ("before", "peak"))
    print(f"\nmemory, MB: {before:.0f} before, {peak:.0f} at most")


def spread(values: Sequence[float]) -> str:
    """The median, the lowest and the highest."""
    return f"{statistics.median(values):.2f} ({min(values):.2f}–{max(values):.2f})"


def main() -> None:
    """Run one of the parts, and print its table."""
    parser = argparse.ArgumentParser(description="Models on their way.")
    parts = parser.add_subparsers(metavar="part", required=True)
    part = parts.add_parser("download", help=download.__doc__)
    part.add_argument("--mb", type=int, default=1000)
    part.add_argument("--folder", type=Path, help="where to; a temporary folder's place by default")
    part.set_defaults(run=download)
    parts.add_parser("memory", help=in_memory.__doc__).set_defaults(run=in_memory)
    for part in parts.choices.values():
        part.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    options.run(options)


if __name__ == "__main__":
    main()
