"""Cloned voices side by side with the library: the same full-size model of random weights, texts and voice.

    .venv/bin/python -m bench.xtts [--runs 3] [--rows sentence crowd …] [--model-dir folder]

Speed does not depend on the weights; those made here never end a sentence by themselves, so both sides speak
as many tokens as are asked for. (A sentence that does not end is said again, unless it is streamed: so ours
are streamed; whole files are asked of a second model, which ends each sentence after as many tokens.) Ours is
the whole engine, asked as the server asks it, with its default Q8_0 GPT; the library's are `inference` and
`inference_stream`. Both stay loaded, and answer in turn. Printed are medians, and of each round's ratio the
median, the lowest and the highest.

With a real model in --model-dir sentences end where they end, so a row's seconds are what its text may take
at most, and there are rows for likeness and word error rate.
"""

import argparse
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as the server does

import numpy as np  # after the variable, which is read when a library loads

from bench.clients import PROJECT_DIR
from bench.xtts_chat import Writer
from bench.xtts_fidelity import exact, likeness
from bench.xtts_sides import Librarys, Ours, Spoken, memory_gb, text_of
from bench.xtts_table import HEAD, Bench, in_turn, print_row
from engine_room.encoding import Sound

# Three pieces for the engine, none too long or too short for the tokens that random weights give it.
SEVERAL = (
    "The small boat left the quiet bay before sunrise and followed the long grey coast for many hours, while "
    "the crew mended old nets, drank hot coffee and told each other stories about the deep cold water. At "
    "noon the wind turned north and the captain ordered everybody below, because the waves had grown as high "
    "as houses and the wooden mast was bending like a thin young tree in the middle of a winter storm."
)


def print_streams(bench: Bench, seconds: float, reaches: Sequence[str]) -> None:
    """The rows of a stream of so long, beside the library's."""
    text = text_of(seconds)
    mine, theirs = in_turn(
        bench.num_runs, lambda: bench.ours.speak(text), lambda: bench.library.speak(text)
    )
    measures: dict[str, Callable[[Spoken], float]] = {
        f"{seconds} s against `inference_stream`: seconds in all": lambda s: s.all_s,
        "… seconds to the first sound": lambda s: s.first_s,
        "… seconds that the listener waits after it": lambda s: s.late_s,
    }
    for (label, measure), reach in zip(measures.items(), reaches, strict=True):
        print_row(label, list(map(measure, mine)), list(map(measure, theirs)), reach)


def sentence(bench: Bench) -> None:
    """A sentence of ten seconds."""
    ten = text_of(10)
    mine, theirs = in_turn(
        bench.num_runs, lambda: bench.ours.speak(ten), lambda: bench.library.speak(ten, False)
    )
    print_row(
        "10 s against `inference`: real-time factor",
        [s.rtf for s in mine],
        [s.rtf for s in theirs],
        "<= 0.95; <= 0.40",
    )


def stream_5(bench: Bench) -> None:
    """A short stream."""
    print_streams(bench, 5, ("–", "<= 0.50", "0"))


def stream_20(bench: Bench) -> None:
    """A long one: four minutes of the library's, each time."""
    print_streams(bench, 20, ("<= 0.20", "<= 0.50", "0"))


def flat(bench: Bench) -> None:
    """What a second of a stream costs, by its length."""
    for seconds in (2, 5, 12, 25):
        runs = [bench.ours.speak(text_of(seconds)) for _ in range(bench.num_runs)]
        print_row(f"stream, {seconds} s: real-time factor", [s.rtf for s in runs], [], "flat")


def file(bench: Bench) -> None:
    """Several sentences as one file; the library is given them one by one."""
    ours = Ours(bench.engine, bench.ending, bench.speaker, is_endless=False)
    ours.speak("warm")
    library = Librarys(bench.ending, bench.speaker)
    mine, theirs = in_turn(
        bench.num_runs, lambda: ours.speak(SEVERAL, False), lambda: library.speak(SEVERAL, False)
    )
    print_row(
        "a whole file of three pieces: real-time factor",
        [s.rtf for s in mine],
        [s.rtf for s in theirs],
        "–",
    )
    print_row("… seconds of sound", [s.sound_s for s in mine], [s.sound_s for s in theirs], "–")


def crowd(bench: Bench) -> None:
    """Three clients at once."""
    ours, text = bench.ours, text_of(8)
    paces, firsts, alone = [], [], []
    for _ in range(bench.num_runs):
        one = ours.speak(text)
        alone.append(one.sound_s / one.all_s)
        begun = time.perf_counter()
        three = [ours.heard(events, begun, text) for events in [ours.ask(text) for _ in range(3)]]
        paces.append(sum(s.sound_s for s in three) / max(s.all_s for s in three))
        firsts.append(max(s.first_s for s in three))
    print_row("three at once: seconds of sound per second (against one)", paces, alone, ">= 1.25")
    print_row("… seconds until the last has its first sound", firsts, [], "<= 3")


def chat(bench: Bench) -> None:
    """A chat beside a stream of cloned speech, in the same process."""
    text = text_of(12)
    chat_alone, chat_beside, speech_alone, speech_beside = [], [], [], []
    with Writer(bench.cores) as writer, ThreadPoolExecutor(1) as pool:
        for _ in range(bench.num_runs):
            speech_alone.append(bench.ours.speak(text).rtf)
            deadline = time.perf_counter() + 5
            chat_alone.append(writer.tokens_per_s(lambda: time.perf_counter() > deadline))  # noqa: B023
            speaking = pool.submit(bench.ours.speak, text)
            chat_beside.append(writer.tokens_per_s(speaking.done))
            speech_beside.append(speaking.result().rtf)
    label = "chat beside a stream: tokens per second (against alone)"
    print_row(label, chat_beside, chat_alone, "stated")
    label = "… the stream's real-time factor (against alone)"
    print_row(label, speech_beside, speech_alone, "stated")


def voice(bench: Bench) -> None:
    """How long a voice takes, new and known."""
    from engine_room.xtts.conditioning import ConditioningCache
    from engine_room.xtts.coqui import CoquiXtts

    coqui = CoquiXtts(bench.folder)
    clip = bench.scratch / "clip.bin"
    samples = (np.random.default_rng(1).standard_normal(24_000 * 30) * 0.1).astype(np.float32)
    clip.write_bytes(samples.tobytes())
    cache = ConditioningCache(
        bench.scratch / "kept", "bench", lambda clips: coqui.conditioning([Sound(samples, 24_000)])
    )
    for label, reach in (
        ("a new voice's conditioning, 30 s of clip", "–"),
        ("a known voice's", "< 0.005"),
    ):
        begun = time.perf_counter()
        cache.of([clip])
        print_row(f"{label}, seconds", [time.perf_counter() - begun], [], reach)


def memory(bench: Bench) -> None:
    """What each path takes, in a process of its own."""
    bench.ours.speak("warm")  # has converted the model
    ours, torch, library = (
        memory_gb(side, bench.folder, bench.speaker) for side in ("ours", "torch", "library")
    )
    for name, mine in (("llama.cpp and ONNX", ours), ("torch", torch)):
        print_row(f"memory, GB, {name}", [mine["resident"]], [library["resident"]], "stated")
        print_row("… at most", [mine["peak"]], [library["peak"]], "stated")


ROWS: dict[str, Callable[[Bench], None]] = {
    "sentence": sentence,
    "stream-5": stream_5,
    "stream-20": stream_20,
    "flat": flat,
    "file": file,
    "crowd": crowd,
    "exact": exact,
    "voice": voice,
    "chat": chat,
    "memory": memory,
    "likeness": likeness,
}


def main() -> None:
    """Build or take the model, and print the table."""
    parser = argparse.ArgumentParser(description="Cloned voices against the library.")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--model-dir", type=Path, help="a real XTTS-v2 folder")
    parser.add_argument(
        "--rows", nargs="+", choices=ROWS, default=list(ROWS), help="groups of rows"
    )
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    os.chdir(PROJECT_DIR)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        bench = Bench(arguments.runs, arguments.model_dir, scratch, stack)
        print(HEAD)
        for name in arguments.rows:
            ROWS[name](bench)


if __name__ == "__main__":
    main()
