"""Transcription side by side with the bare library: the same model, settings, threads and speech.

    .venv/bin/python -m bench.transcription [--runs 3] [--seconds 11 600] [--threads 2] [--language en]

The default voice reads a text that is known, so words that are wrong can be counted. It is heard by this
server over HTTP, by its engine in this process, and by faster-whisper alone with the engine's settings, in
turn, the first of a round another one each time. Printed are medians, and of each round's ratio to the
library the median, the lowest and the highest: of the time on the wall, and of that on all cores, which says
more on a machine that does other work as well.
"""

import argparse
import json
import os
import platform
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as the server does

import faster_whisper  # after the variable, which is read when a library loads
import numpy as np
import psutil

from bench.clients import PROJECT_DIR
from bench.likeness import word_error_rate
from bench.startup import Server, fresh_server, upload
from engine_room.decoding import decode
from engine_room.encoding import Sound, encode
from engine_room.jobs import Job
from engine_room.settings import Settings
from engine_room.speech_light import LightVoice
from engine_room.standard_voices import STANDARD_VOICES
from engine_room.transcription_format import Segment, text_of
from engine_room.transcription_network import COMPUTE
from engine_room.transcription_turn import SpeechFilter, TranscriptionTurn
from engine_room.transcription_whisper import RATE_HZ, WARMER, WhisperModel, vad_options
from engine_room.whisper_models import WhisperModels

VOICES = ("nova", "alloy", "fable", "shimmer")
PAUSE_S = 0.35
REACH = "<= 1.05"
HEAD = (
    "| sound | heard by | seconds | ratio to the library | CPU seconds | ratio | word errors |\n"
    "|---|---|---|---|---|---|---|"
)
PASSAGE = """
The harbour wakes before the town does. Long before the first bus, men in yellow coats carry boxes of ice
along the pier, and the gulls, which have slept on the roofs, begin to quarrel over nothing at all. By six
o'clock the fish market is open. Buyers from the hotels walk between the rows, touching this and smelling
that, and a woman with a red pencil writes the prices on a board. Nobody hurries, yet everything is done
within the hour. When the church bell rings for the second time, the floor is washed, the boxes are stacked,
and only a few cats remain to remember what was sold.

My grandfather kept a small shop at the corner, where he repaired clocks. He used to say that a clock is an
honest animal: it tells you at once when it is unwell. On the wall behind him hung thirty of them, large and
small, and no two agreed. Visitors laughed about it, but he never set them right before he had listened to
each one, for he believed that a good ear finds a fault sooner than a good eye. In the evening, when he
turned off the lamp, the ticking filled the dark room like rain on a wide and quiet lake.

In spring the river rises. The meadows on the other side turn into mirrors, and the road to the mill can
only be passed by boat. Children love those weeks, because school begins late and ends early, and because
the baker comes rowing with warm bread under a cloth. The older people watch the marks on the bridge. They
remember the year when the water reached the altar, and how the whole village slept in the barn on the hill,
among the cows, telling stories until the morning came and the rain had finally stopped.
"""


@dataclass(frozen=True, slots=True)
class Speech:
    """A flac file (ten minutes of wav are more than an upload may have), and what is said in it."""

    file: bytes
    said: str
    duration_s: float


@dataclass(frozen=True, slots=True)
class Heard:
    """What one side wrote down, and the time it took, on the wall and on all cores."""

    text: str
    wall_s: float
    cpu_s: float


def speech_of(duration_s: float) -> Speech:
    """Sentences of the passage, again and again, each time in another voice, until that long."""
    voice = LightVoice()
    sentences = re.split(r"(?<=[.])\s+", " ".join(PASSAGE.split()))
    readings = ((name, sentence) for name in cycle(VOICES) for sentence in sentences)
    pause = np.zeros(int(PAUSE_S * voice.sample_rate_hz), np.float32)
    blocks, said, num_samples = [pause], [], 0
    while num_samples < duration_s * voice.sample_rate_hz:
        name, sentence = next(readings)
        blocks += [voice.speak(sentence, STANDARD_VOICES[name].character, seed=1), pause]
        said.append(sentence)
        num_samples = sum(map(len, blocks))
    sound = Sound(np.concatenate(blocks), voice.sample_rate_hz)
    return Speech(encode(sound, "flac"), " ".join(said), sound.duration_s)


class Sides:
    """The three that hear: each takes a file and gives the text."""

    def __init__(self, folder: Path, threads: int, language: str, server: Server) -> None:
        self._engine = WhisperModel(folder, threads)
        self._bare = faster_whisper.WhisperModel(
            str(folder), device="cpu", compute_type=COMPUTE["cpu"], cpu_threads=threads
        )
        self._language, self._server = language, server
        self.deeds: dict[str, Callable[[bytes], str]] = {
            "the library": self._by_library,
            "the engine": self._by_engine,
            "this server": self._by_server,
        }

    def hear(self, name: str, file: bytes) -> Heard:
        """Have one of them write it down; the server's cores are another process's."""
        process = psutil.Process(self._server.pid if name == "this server" else None)
        begun, cpu = time.perf_counter(), process.cpu_times()
        text = self.deeds[name](file)
        spent = process.cpu_times()
        cpu_s = spent.user + spent.system - cpu.user - cpu.system
        return Heard(text, time.perf_counter() - begun, cpu_s)

    def _by_library(self, file: bytes) -> str:
        heard = vad_options(SpeechFilter())
        segments, _ = self._bare.transcribe(
            decode(file, RATE_HZ).samples,
            language=self._language or None,
            temperature=WARMER,
            vad_filter=True,
            vad_parameters=heard,
            condition_on_previous_text=False,
        )
        return "".join(segment.text for segment in segments)

    def _by_engine(self, file: bytes) -> str:
        turn = TranscriptionTurn(file, self._engine.folder, self._language)
        events = self._engine.answer(Job(turn, print))
        return text_of([event for event in events if isinstance(event, Segment)])

    def _by_server(self, file: bytes) -> str:
        body, kind = upload(file)
        field = (
            f'--x\r\nContent-Disposition: form-data; name="language"\r\n\r\n{self._language}\r\n'
        )
        answer = self._server.whole("/v1/audio/transcriptions", field.encode() + body, kind)
        return str(json.loads(answer)["text"])


def print_rows(speech: Speech, runs: Sequence[dict[str, Heard]]) -> None:
    """A line for each side."""
    for name in runs[0]:
        mine, library = [run[name] for run in runs], [run["the library"] for run in runs]
        columns = [f"{speech.duration_s:.0f} s", name]
        for measure in ("wall_s", "cpu_s"):
            values = [getattr(heard, measure) for heard in mine]
            beside = [getattr(heard, measure) for heard in library]
            ratios = [value / other for value, other in zip(values, beside, strict=True)]
            columns.append(f"{statistics.median(values):.2f}")
            columns.append(f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})")
        errors = statistics.median(word_error_rate(speech.said, heard.text) for heard in mine)
        print("|", " | ".join(columns), "|", f"{errors:.1%} |", flush=True)


def main() -> None:
    """Make the speech, and print the table."""
    parser = argparse.ArgumentParser(description="Transcription against the bare library.")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, nargs="+", default=[11.0, 600.0])
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--language", default="", help="empty: each finds out, as by default")
    arguments = parser.parse_args()
    os.chdir(PROJECT_DIR)
    models = WhisperModels(Settings().models_dir)
    folder = models.ready(models.bundled)
    os.environ["TRANSCRIPTION_THREADS"] = str(arguments.threads)
    with ExitStack() as stack:
        server = stack.enter_context(fresh_server(models_dir_of(stack, folder)))
        sides = Sides(folder, arguments.threads, arguments.language, server)
        print(f"{platform.machine()}, {os.cpu_count()} cores, {arguments.threads} threads")
        print(f"Python {platform.python_version()}, faster-whisper {faster_whisper.__version__}")
        print(f"reach: {REACH}\n\n{HEAD}")
        names = list(sides.deeds)
        warm = speech_of(4).file
        for name in names:
            sides.hear(name, warm)
        for seconds in arguments.seconds:
            speech, runs = speech_of(seconds), []
            for run in range(arguments.runs):
                order = [names[(run + i) % len(names)] for i in range(len(names))]
                heard = {name: sides.hear(name, speech.file) for name in order}
                runs.append({name: heard[name] for name in names})
            print_rows(speech, runs)


def models_dir_of(stack: ExitStack, folder: Path) -> Path:
    """A folder with this model alone, so that nothing else is loaded beside it."""
    path = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    (path / folder.name).symlink_to(folder.resolve())
    return path


if __name__ == "__main__":
    main()
