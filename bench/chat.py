"""Chat side by side with its peers: the same requests, model, threads and client for each server.

    .venv/bin/pip install xllamacpp starlette-context   # the peers, for this bench only
    .venv/bin/python -m bench.chat [--runs 5] [--rows one,eight] [--threads N] [--model file.gguf]

The peers are llama-server's engine (xllamacpp), llama-cpp-python's own server, and for one stream the
bare loop: decode a token, take the likeliest. All stay up for the whole run, a process each
(waiting takes none of them any CPU); a round of a row asks them one after the other, and the next round
begins with the next of them. Printed are the
medians of the rounds, and of each round's ratio the median, the lowest and the highest. A server that
fails at a row is shown as failing there, with the reason below. Tokens are those really received.
"""

import argparse
import importlib.metadata
import importlib.util
import operator
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from bench import clients
from bench.beside import beside
from bench.clients import BARE, ENGINE, OURS, PACKAGE, Body, Server, body, chat, prose, story

PERSON = {"name": {"type": "string"}, "town": {"type": "string"}}
PEOPLE = {
    "type": "array",
    "minItems": 40,
    "items": {"type": "object", "properties": PERSON, "required": ["name", "town"]},
}
SCHEMA = {"type": "object", "properties": {"people": PEOPLE}, "required": ["people"]}
# What Open WebUI asks of the model around a turn, in its manner.
TASK = """### Task:
{task}
### Guidelines:
- Your entire response must consist solely of the JSON object, without any introductory text.
- The output must be a single, raw JSON object, without any markdown code fences.
### Output:
JSON format: {output}
### Chat History:
<chat_history>
{history}
</chat_history>"""
TITLE = ("Generate a concise, 3-5 word title with an emoji.", '{ "title": "your title here" }')
TAGS = ("Generate 1-3 broad tags categorizing the main themes.", '{ "tags": ["tag1", "tag2"] }')
FOLLOW_UPS = ("Suggest 3-5 follow-up questions by the user.", '{ "follow_ups": ["Question?"] }')
MISSING = "not installed"
Target = Server | clients.Bare
Load = Callable[[Any, str], list[float]]  # a target, and a tag that no other round has


def one(target: Target, tag: str) -> list[float]:
    """Tokens/s of a stream."""
    return [target.chat(story(tag, 200)).tokens_per_s]


def eight(server: Server, tag: str) -> list[float]:
    """Tokens/s of eight streams in all, their median time to the first token, and that of the same again."""
    bodies = [story(f"{tag}-{i}", 100, 60) for i in range(8)]
    return [*_crowd(server, bodies), _crowd(server, bodies)[1]]


def shared(server: Server, tag: str) -> list[float]:
    """Median time to the first token of eight with one system prompt."""
    questions = [f"Tell me about the {word} in it." for word in clients.WORDS[:8]]
    return _crowd(server, [body(chat(prose(tag, 400), asked), 32) for asked in questions])[1:]


def _crowd(server: Server, bodies: Sequence[Body]) -> list[float]:
    replies = clients.together([partial(server.chat, body) for body in bodies])
    seconds = max(reply.ended for reply in replies) - min(reply.asked for reply in replies)
    first_token_s = statistics.median(reply.first_token_s for reply in replies)
    return [sum(reply.num_tokens for reply in replies) / seconds, first_token_s]


def second_turn(server: Server, tag: str) -> list[float]:
    """Time to the first token of the second turn about a long text."""
    turns = ["You answer questions.", f"{prose(tag, 2000)}\nWhat is this text about?"]
    turns.append(server.chat(body(chat(*turns), 32)).texts[0])
    turns.append("Which word in it do you like best?")
    return [server.chat(body(chat(*turns), 8)).first_token_s]


def open_webui(server: Server, tag: str) -> list[float]:
    """Time to the last byte of a chat and the three tasks around it."""
    turns = []
    for i in range(3):
        turns += [f"Here are my notes. {prose(f'{tag}-{i}', 40)}", prose(f"answer-{tag}-{i}", 60)]
    turns.append("Write a very long and detailed story about my notes.")
    begun = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        title = pool.submit(server.chat, _task(TITLE, turns))
        time.sleep(0.01)  # the title is asked for first
        turns.append(server.chat(body(chat("You help.", *turns), 150)).texts[0])
        tags = pool.submit(server.chat, _task(TAGS, turns))
        server.chat(_task(FOLLOW_UPS, turns))
        tags.result(), title.result()
    return [time.perf_counter() - begun]


def _task(task: tuple[str, str], turns: list[str]) -> Body:
    lines = [f"{('USER', 'ASSISTANT')[i % 2]}: {turn}" for i, turn in enumerate(turns)]
    content = TASK.format(task=task[0], output=task[1], history="\n".join(lines[-6:]))
    return body([{"role": "user", "content": content}], 50, stream=False)


def busy(server: Server, tag: str) -> list[float]:
    """Tokens/s of a stream while another program wants a core."""
    hog = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(0.2)
        return one(server, tag)
    finally:
        hog.kill()
        hog.wait()


def schema(server: Server, tag: str) -> list[float]:
    """Tokens/s of a stream that keeps to a schema, and what that is of a free one's."""
    wish = f"As JSON, list forty people and the towns they live in. {prose(tag, 20)}"
    format_ = {"type": "json_schema", "json_schema": {"name": "people", "schema": SCHEMA}}
    request = body(chat(f"{tag}: you list.", wish), 200, response_format=format_)
    free, kept = one(server, f"{tag}-free")[0], server.chat(request).tokens_per_s
    return [kept, kept / free]


Reach = tuple[str, str, float]
SIGNS = {">=": operator.ge, "<=": operator.le}
# In the order they run (memory before speech and transcription have worked), each row's figures; with each
# the peers, and what its ratio to theirs should be. No peer: what the figure itself should be.
# fmt: off
ROWS: dict[str, dict[str, tuple[Reach, ...]]] = {
    "one": {"1 stream, tokens/s": ((ENGINE, ">=", 1.0), (BARE, ">=", 0.95))},
    "eight": {"8 cold streams, tokens/s": ((ENGINE, ">=", 1.0),),
              "8 cold streams, s to first token": ((ENGINE, "<=", 1.0),),
              "the same 8 again, s to first token": ((ENGINE, "<=", 1.0),)},
    "shared": {"8 with one system prompt, s to first token": ((ENGINE, "<=", 0.35),)},
    "second": {"2nd turn of a long chat, s to first token": ((ENGINE, "<=", 1.0),)},
    "webui": {"Open WebUI's turn, s to last byte": ((ENGINE, "<=", 0.6),)},
    "busy": {"1 stream beside a busy core, tokens/s": ((ENGINE, ">=", 1.5),)},
    "schema": {"json_schema, tokens/s": (),
               "json_schema, of a free stream's tokens/s": (("", ">=", 0.9),)},
    "memory": {"memory after loading, MB beyond the model": (),
               "memory after these rows, MB beyond the model": ()},
    "three": {"beside speech and transcription, tokens/s": ((ENGINE, ">=", 2.0),),
              "… seconds spoken a second": ((ENGINE, ">=", 1.0),),
              "… seconds transcribed a second": ((ENGINE, ">=", 1.0),)},
}
LOADS: dict[str, Load] = {"one": one, "eight": eight, "shared": shared, "second": second_turn,
                          "webui": open_webui, "busy": busy, "schema": schema}
# fmt: on


@dataclass(slots=True)
class Results:
    """A row's figures by server, a list for each round; and why a server has none."""

    figures: dict[str, list[list[float]]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


def measured(name: str, load: Load, targets: Sequence[Target], num_runs: int) -> Results:
    """All rounds of a row; a server that failed once is asked no more."""
    results = Results()
    for i in range(num_runs):
        first = i % len(targets)
        for target in (*targets[first:], *targets[:first]):
            if target.name in results.failures:
                continue
            try:
                figures = load(target, f"{name}-{i}")
            except (clients.Failure, OSError) as error:  # a TimeoutError is one
                results.failures[target.name] = str(error) or type(error).__name__
                results.figures.pop(target.name, None)
            else:
                results.figures.setdefault(target.name, []).append(figures)
    return results


def print_row(name: str, results: Results, names: Sequence[str]) -> None:
    """A line for each reach of each figure, then what failed."""
    for i, (label, reaches) in enumerate(ROWS[name].items()):
        cells = [label, *(_cell(results, server, i) for server in names)]
        for reach in reaches or [None]:
            print(f"| {' | '.join(cells + _judged(results, reach, i))} |", flush=True)


def _cell(results: Results, name: str, index: int) -> str:
    if name in results.failures:
        return MISSING if results.failures[name] == MISSING else "fails"
    rounds = results.figures.get(name)
    return f"{statistics.median(r[index] for r in rounds):.3g}" if rounds else "–"


def _judged(results: Results, reach: Reach | None, index: int) -> list[str]:
    """The last four cells of a line."""
    if reach is None:
        return ["–"] * 4
    peer, sign, bound = reach
    ours = [figures[index] for figures in results.figures.get(OURS, [])]
    theirs = [figures[index] for figures in results.figures.get(peer, [])]
    if not peer:
        theirs = [1.0] * len(ours)
    if not (ours and theirs):
        return [peer, "–", f"{sign} {bound:.2f}", "–" if ours else "NO"]
    ratios = [our / their for our, their in zip(ours, theirs, strict=True)]
    ratio = statistics.median(ratios)
    verdict = "yes" if SIGNS[sign](ratio, bound) else "NO"
    spread = f"{ratio:.2f} ({min(ratios):.2f}–{max(ratios):.2f})"
    return [peer, spread, f"{sign} {bound:.2f}", verdict]


def print_machine(model: Path, threads: int, num_runs: int) -> None:
    """Where and with what this was measured."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    versions = [f"Python {platform.python_version()}"]
    for package in ("llama-cpp-python", "xllamacpp"):
        with suppress(importlib.metadata.PackageNotFoundError):
            versions.append(f"{package} {importlib.metadata.version(package)}")
    print(f"\n{(*names, platform.machine())[0]}, {os.cpu_count()} cores; {threads} threads;")
    print(f"{model.name}; {num_runs} rounds; {', '.join(versions)}")


def start_all(stack: ExitStack, model: Path, threads: int, log: Path) -> list[Target]:
    """The servers and the bare loop, each having answered once, as long as the stack is open."""
    targets: list[Target] = [stack.enter_context(clients.this_server(model, threads, log))]
    if importlib.util.find_spec("xllamacpp"):
        targets.append(stack.enter_context(clients.xllamacpp_server(model, threads, log)))
    if all(map(importlib.util.find_spec, ["starlette_context", "sse_starlette"])):
        targets.append(stack.enter_context(clients.llama_cpp_server(model, threads, log)))
    return [*targets, stack.enter_context(clients.bare_loop(model, threads, log))]


def run(options: argparse.Namespace, log: Path) -> None:
    """Start everything, print the rows as they are measured, then how and where."""
    model: Path = options.model or clients.bundled_model()
    model_mb = model.stat().st_size / 1e6
    failures: list[str] = []
    with ExitStack() as stack:
        targets = start_all(stack, model, options.threads, log)
        servers = [target for target in targets if isinstance(target, Server)]
        loaded = {server.name: server.memory_mb() for server in servers}
        for target in targets:
            target.chat(story("warm", 8))

        def memory(server: Server, _: str) -> list[float]:
            return [loaded[server.name] - model_mb, server.memory_mb() - model_mb]

        loads = {**LOADS, "memory": memory}
        if "three" in options.rows:
            loads["three"] = stack.enter_context(beside(servers[0], log)).load
        names = [OURS, ENGINE, PACKAGE, BARE]
        columns = ["load", *names, "compared with", "ratio (lowest–highest)", "reach", "reached"]
        print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)
        for row in options.rows:
            asked = targets if row == "one" else servers
            results = measured(row, loads[row], asked, options.runs)
            failures += [f"{row}: {name}: {why}" for name, why in results.failures.items()]
            absent = {*names} - {target.name for target in targets}
            results.failures.update(dict.fromkeys(absent, MISSING))
            print_row(row, results, names)
    print(*(f"\nFails at {failure}" for failure in failures))
    print_machine(model, options.threads, options.runs)


def main() -> None:
    """Read the flags and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="rounds of each row")
    parser.add_argument("--rows", type=_rows, default=list(ROWS), help=", ".join(ROWS))
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of each server")
    parser.add_argument("--model", type=Path, help="a GGUF; by default the bundled one")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # and end the servers
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        try:
            run(parser.parse_args(), log)
        except RuntimeError as error:
            sys.exit(f"{error}\n{log.read_text(errors='replace')[-2000:]}")


def _rows(names: str) -> list[str]:
    if not set(names.split(",")) <= set(ROWS):
        raise argparse.ArgumentTypeError(f"the rows are {', '.join(ROWS)}")
    return [name for name in ROWS if name in names.split(",")]


if __name__ == "__main__":
    main()
