"""This server under a mixed load of chats, a third of which are hung up on; afterwards it must be as before.

    .venv/bin/python -m bench.soak_chat [--minutes 10] [--clients 12] [--seed N]

Prints every half minute what was answered and how much memory the server takes. Then it checks that the
server comes to rest, that a lone request gets the same text as before the load and its first token as
soon, that eight at once are as fast, that eight long ones fit its memory together, that memory has not
grown over the second half, and that no error was logged. Exits with 1 and the list of what went wrong.
"""

import argparse
import json
import random
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from bench.clients import (
    PARALLEL,
    POOL_TOKENS,
    TIMEOUT_S,
    Body,
    Failure,
    Server,
    body,
    bundled_model,
    chat,
    prose,
    story,
    this_server,
    together,
)

# Past prompts in RAM: so few that the cache is full, and memory flat, soon.
CACHE_MB = 50
# What the memory may grow by between the third and the fourth quarter of the load.
MAX_GROWTH_MB, MAX_GROWTH_RATIO = 50.0, 0.05
# How much slower the server may be afterwards; the machine itself is not the same from minute to minute.
MAX_SLOWDOWN = 1.7
REST_S = 60.0
REPORT_S = 30.0
HANG_UP_SHARE = 1 / 3
KINDS = ("plain", "long", "many", "json", "tools", "stop", "seed", "too long")
WEIGHTS = (6, 2, 2, 2, 1, 2, 2, 1)


@dataclass(frozen=True, slots=True)
class Wish:
    """A request, the status it should get, and when its client hangs up at the latest."""

    kind: str
    body: Body
    status: int
    patience_s: float

    @property
    def is_patient(self) -> bool:
        """True for a client that waits for the whole answer."""
        return self.patience_s == TIMEOUT_S


def wishes(rng: random.Random) -> Iterator[Wish]:
    """Requests without end."""
    while True:
        kind = rng.choices(KINDS, WEIGHTS)[0]
        tag = f"{rng.getrandbits(40):x}"
        shared = prose(f"shared-{rng.randrange(3)}", 300)
        system = rng.choice([shared, f"{tag}: you tell stories."])
        more = _of_kind(kind, tag, rng)
        words = {"long": 3000, "too long": 9000, "tools": 200}.get(kind, 20)
        wish = f"Write a long story about all of these words: {prose(tag, words)}"
        if "tools" in more:
            system = f"You may call these functions: {json.dumps(more['tools'])}"
        request = body(chat(system, wish), rng.randint(1, 120), stream=rng.random() < 0.6, **more)
        yield Wish(kind, request, 400 if kind == "too long" else 200, _patience_s(rng))


def _of_kind(kind: str, tag: str, rng: random.Random) -> dict[str, Any]:
    """What a request of this kind asks for beside a story."""
    if kind == "many":
        return {"n": rng.randint(2, 3), "temperature": 0.9}
    if kind == "json":
        return {"response_format": {"type": "json_object"}, "temperature": 0.7}
    if kind == "tools":
        return {"tools": [_tool(f"{tag}_{i}") for i in range(15)]}
    if kind == "stop":
        return {"stop": rng.sample(["the", "\n", ".", "and then", "é"], 2)}
    if kind == "seed":
        return {"seed": rng.randrange(1000), "temperature": 1.0}
    return {"temperature": rng.choice([0, 0.8])}


def _tool(name: str) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"place": {"type": "string"}}}
    about = f"Tells {prose(name, 12)}"
    function = {"name": f"tell_{name}", "description": about, "parameters": parameters}
    return {"type": "function", "function": function}


def _patience_s(rng: random.Random) -> float:
    """All there is; or for a third, a moment: before the first byte, or in the middle of the answer."""
    if rng.random() >= HANG_UP_SHARE:
        return TIMEOUT_S
    return rng.choice([rng.uniform(0.001, 0.1), rng.uniform(0.1, 6)])


@dataclass(slots=True)
class Log:
    """What happened so far, from all clients."""

    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    num_tokens: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, what: str, num_tokens: int = 0) -> None:
        """One more of these."""
        with self.lock:
            self.counts[what] += 1
            self.num_tokens += num_tokens


def client(server: Server, rng: random.Random, deadline: float, log: Log) -> None:
    """Ask one wish after the other until the deadline."""
    for wish in wishes(rng):
        if time.perf_counter() >= deadline:
            return
        try:
            problem = answered(server, wish, log)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is what we look for
            problem = repr(error)
        if problem:
            log.problems.append(f"{wish.kind}, stream {wish.body['stream']}: {problem}")


def answered(server: Server, wish: Wish, log: Log) -> str:
    """What is wrong with the answer to a wish, or an empty string."""
    try:
        reply = server.chat(wish.body, wish.patience_s)
    except TimeoutError:
        log.note("hung up")
        return f"no whole answer within {TIMEOUT_S:.0f} s" if wish.is_patient else ""
    except Failure as failure:
        log.note("refused")
        return "" if failure.status == wish.status == 400 else str(failure)
    log.note("answered", reply.num_tokens)
    if wish.status != 200:
        return f"answered, {wish.status} expected"
    asked = wish.body
    if "response_format" in asked and reply.reasons[0] == "stop":
        json.loads(reply.texts[0])
    for stop in asked.get("stop", []):
        if stop in reply.texts[0]:
            return f"{stop!r} is in the answer"
    limit = asked["max_tokens"] * asked.get("n", 1)
    return f"{reply.num_tokens} tokens of {limit}" if not 0 < reply.num_tokens <= limit else ""


@dataclass(frozen=True, slots=True)
class Form:
    """How the server is when nobody else asks it anything."""

    first_token_s: float
    eight_s: float
    text: str

    def worse_than(self, before: "Form") -> list[str]:
        """In what it is worse than it was."""
        found = []
        for name in ("first_token_s", "eight_s"):
            was, now = getattr(before, name), getattr(self, name)
            if now > was * MAX_SLOWDOWN:
                found.append(f"{name} was {was:.2f} before the load and is {now:.2f}")
        if self.text != before.text:
            found.append(f"a seeded request gave {before.text!r} before and gives {self.text!r}")
        return found


def form(server: Server, tag: str) -> Form:
    """The server's form, by a few requests that no cache helps with."""
    lone = [server.chat(story(f"{tag}-{i}", 8, 100)).first_token_s for i in range(5)]
    begun = time.perf_counter()
    together([partial(server.chat, story(f"{tag}-8-{i}", 60, 40)) for i in range(8)])
    eight_s = time.perf_counter() - begun
    seeded = {**story("seeded", 40), "seed": 7, "temperature": 1.0}
    return Form(statistics.median(lone), eight_s, server.chat(seeded).texts[0])


def rested(server: Server) -> list[str]:
    """Wait until the server computes nothing; a complaint if it never stops."""
    deadline = time.perf_counter() + REST_S
    while time.perf_counter() < deadline:
        before = server.cpu_s()
        time.sleep(2)
        if server.cpu_s() - before < 0.1:
            return []
    return [f"it still computes {REST_S:.0f} s after the last client has left"]


def fits_all(server: Server) -> list[str]:
    """Ask for as many long chats at once as its memory must hold; a complaint if one is not answered."""
    num_words = int(0.8 * POOL_TOKENS / PARALLEL)  # a token each
    try:
        # About room, not about speed: prompts of such a size take minutes on a busy machine.
        asks = [
            partial(server.chat, story(f"fit-{i}", 20, num_words), 600) for i in range(PARALLEL)
        ]
        together(asks)
    except (Failure, OSError) as error:
        return [f"{PARALLEL} chats that fill its memory: {error!r}"]
    return []


def load(server: Server, options: argparse.Namespace, log: Log) -> list[float]:
    """Let the clients loose; the server's memory in MB, once a second."""
    begun = time.perf_counter()
    deadline = begun + 60 * options.minutes
    threads = [
        threading.Thread(
            target=client, args=(server, random.Random(f"{options.seed}-{i}"), deadline, log)
        )
        for i in range(options.clients)
    ]
    for thread in threads:
        thread.start()
    series: list[float] = []
    reported_s, reported_tokens = 0.0, 0
    print(f"{'s':>6}{'memory, MB':>12}{'tokens/s':>10}  requests")
    while any(thread.is_alive() for thread in threads):
        time.sleep(1)
        if (now := time.perf_counter()) < deadline:
            series.append(server.memory_mb())
        if now - begun - reported_s >= REPORT_S:
            rate = (log.num_tokens - reported_tokens) / (now - begun - reported_s)
            reported_s, reported_tokens = now - begun, log.num_tokens
            counts = ", ".join(f"{count} {what}" for what, count in sorted(log.counts.items()))
            print(f"{reported_s:>6.0f}{series[-1]:>12.0f}{rate:>10.0f}  {counts}", flush=True)
    return series


def growth(series: list[float]) -> list[str]:
    """A complaint if memory grew between the third and the fourth quarter of the load."""
    quarter = max(1, len(series) // 4)
    third = statistics.median(series[2 * quarter : 3 * quarter] or series)
    fourth = statistics.median(series[3 * quarter :] or series)
    print(f"Memory in the third quarter {third:.0f} MB, in the fourth {fourth:.0f} MB.")
    if fourth - third > max(MAX_GROWTH_MB, MAX_GROWTH_RATIO * third):
        return [f"its memory grew from {third:.0f} to {fourth:.0f} MB in a quarter of the load"]
    return []


def soaked(options: argparse.Namespace, log_file: Path) -> list[str]:
    """Everything that went wrong."""
    log = Log()
    with this_server(
        bundled_model(), options.threads, log_file, f"--chat-cache-mb={CACHE_MB}"
    ) as server:
        form(server, "warm")
        before = form(server, "before")
        series = load(server, options, log)
        found = [*log.problems, *rested(server), *growth(series), *fits_all(server)]
        after = form(server, "after")
        print(
            f"Alone, first token after {before.first_token_s:.2f} s, then {after.first_token_s:.2f} s;"
        )
        print(f"eight at once in {before.eight_s:.2f} s, then {after.eight_s:.2f} s.")
        found += [*after.worse_than(before), *rested(server)]
    lines = log_file.read_text(errors="replace").splitlines()
    return found + [line for line in lines if line.startswith(("ERROR", "CRITICAL", "Traceback"))]


def main() -> None:
    """Read the flags and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="how long the load lasts")
    parser.add_argument("--clients", type=int, default=12, help="how many ask at once")
    parser.add_argument("--seed", type=int, default=0, help="for the same wishes again")
    parser.add_argument("--threads", type=int, default=0, help="of the chat model; 0: as it wants")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # and end the server
    with tempfile.TemporaryDirectory() as folder:
        found = soaked(parser.parse_args(), Path(folder) / "log")
    for line, count in Counter(found).items():
        print(f"WRONG ({count}x): {line}")
    if found:
        sys.exit(1)
    print("Nothing went wrong.")


if __name__ == "__main__":
    main()
