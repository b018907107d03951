"""Speech side by side with the bare voice: the same texts, by hibari alone and by this server over HTTP.

    .venv/bin/python -m bench.speech [--runs 5]

What hibari says alone is encoded by pydub where a file is asked for, one after the other. The two take
turns; printed are medians, and the median, lowest and highest difference or ratio of the rounds. The server
does what the bare voice does not: it checks the text, writes numbers out, changes the voice, levels, trims.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice

from hibari import Hibari

from bench.startup import PROJECT_DIR, Server, fresh_server
from engine_room.decoding import decode
from engine_room.encoding import Sound, encode

RATE_HZ = 24_000
FORTY_WORDS = (
    "The ferry to the island leaves at seven in the morning. Bring a warm coat, for the wind on the water is "
    "cold even in June, and something to eat, because the little kitchen on board has been closed since the "
    "winter."
)
SENTENCES = FORTY_WORDS.split(". ")
THOUSAND_WORDS = " ".join(islice(cycle(FORTY_WORDS.split()), 1000))
NUM_AT_ONCE = 8


class Bare:
    """hibari, with the one thread that the server gives it."""

    def __init__(self) -> None:
        self._hibari = Hibari(threads=1)

    def first_sentence(self) -> float:
        """Seconds until the first sentence of the forty words is there."""
        begun = time.perf_counter()
        self._hibari(f"{SENTENCES[0]}.")
        return time.perf_counter() - begun

    def file(self) -> float:
        """Seconds for a thousand words as mp3."""
        begun = time.perf_counter()
        encode(Sound(self._hibari(THOUSAND_WORDS), RATE_HZ), "mp3")
        return time.perf_counter() - begun


class Ours:
    """This server."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def said(self, text: str, **fields: object) -> bytes:
        """A whole file."""
        body = {"input": text, "voice": "nova", **fields}
        return self._server.whole("/v1/audio/speech", body)

    def first_byte(self) -> float:
        """Seconds until the first byte of a stream of the forty words."""
        begun = time.perf_counter()
        body = {"input": FORTY_WORDS, "voice": "nova", "stream": True}
        blocks = self._server.blocks("/v1/audio/speech", body, "application/json")
        next(blocks)
        seconds = time.perf_counter() - begun
        list(blocks)
        return seconds

    def file(self) -> float:
        """Seconds for a thousand words as mp3."""
        begun = time.perf_counter()
        self.said(THOUSAND_WORDS)
        return time.perf_counter() - begun

    def pace(self, num_at_once: int) -> float:
        """Seconds of sound made per second, by so many requests at once."""
        begun = time.perf_counter()
        with ThreadPoolExecutor(num_at_once) as pool:
            files = list(pool.map(self.said, [FORTY_WORDS] * NUM_AT_ONCE))
        seconds = time.perf_counter() - begun
        return sum(decode(file, RATE_HZ).duration_s for file in files) / seconds


def in_turn(num_runs: int, *deeds: Callable[[], float]) -> list[tuple[float, ...]]:
    """Rounds of figures, each deed's once a round, the first of a round another one each time."""
    rounds = []
    for number in range(num_runs):
        order = [(number + place) % len(deeds) for place in range(len(deeds))]
        found = {place: deeds[place]() for place in order}
        rounds.append(tuple(found[place] for place in range(len(deeds))))
    return rounds


def row(name: str, rounds: Sequence[tuple[float, ...]], reach: str, *, is_ratio: bool) -> str:
    """A row of the table."""
    ours, bare = (statistics.median(values) for values in zip(*rounds, strict=True))
    found = [one / other if is_ratio else (one - other) * 1000 for one, other in rounds]
    middle, least, most = statistics.median(found), min(found), max(found)
    compared = (
        f"{middle:.2f} ({least:.2f}–{most:.2f})"
        if is_ratio
        else f"+{middle:.0f} ms ({least:.0f}–{most:.0f})"
    )
    return f"| {name} | {ours:.3g} | {bare:.3g} | {compared} | {reach} |"


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    num_runs = parser.parse_args().runs
    bare = Bare()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    with fresh_server(PROJECT_DIR / "models") as server:
        ours = Ours(server)
        while json.loads(server.whole("/health"))["status"] != "ok":
            time.sleep(0.05)
        for deed in (ours.first_byte, bare.first_sentence):  # warm
            deed()
        print("| | this server | bare | compared | reach |\n|---|---|---|---|---|")
        first = in_turn(3 * num_runs, ours.first_byte, bare.first_sentence)
        name = "first byte of 40 words, mp3 stream, s; bare: first sentence"
        print(row(name, first, "<= +60 ms", is_ratio=False), flush=True)
        whole = in_turn(num_runs, ours.file, bare.file)
        print(row("1,000 words to mp3, s", whole, "<= 1.15", is_ratio=True), flush=True)
        paces = in_turn(num_runs, lambda: ours.pace(NUM_AT_ONCE), lambda: ours.pace(1))
        name = f"{NUM_AT_ONCE} requests at once, s of sound per s; bare: one at a time"
        print(row(name, paces, ">= 1", is_ratio=True))


if __name__ == "__main__":
    main()
