"""Cloned voices side by side with the library: the same full-size model of random weights, texts and voice.

    .venv/bin/python -m bench.xtts [--runs 3] [--model-dir folder]

Speed does not depend on the weights; those made here never end a sentence by themselves, so both sides speak
as many tokens as are asked for. (A sentence that does not end is said again, unless it is streamed: so
ours are all streamed.) Ours is the whole engine, asked as the server asks it, with its default Q8_0
GPT; the library's are `inference` and `inference_stream`. Both stay loaded, and answer in turn. Printed are
medians, and of each round's ratio the median, the lowest and the highest.
"""

import argparse
import os
import queue
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as the server does

import numpy as np  # after the variable, which is read when a library loads
import psutil

from bench.clients import PROJECT_DIR
from engine_room.encoding import Sound
from engine_room.jobs import Done, Engine, Failed
from engine_room.recordings import Recordings
from engine_room.settings import Settings
from engine_room.xtts.conversion import GPT_FILE, VOCODER_FILE, OnnxVocoder
from engine_room.xtts.engine import cloning_engine
from engine_room.xtts.folder import XttsFolder
from engine_room.xtts.pace import TOKEN_S, max_audio_tokens
from engine_room.xtts.turn import StudioVoice, XttsTurn
from engine_room.xtts.vocoder import Network, VocoderStream

WORDS = "the quick brown fox jumps over a lazy dog while seven old ships sail slowly home "
LANGUAGE = "en"


def text_of(seconds: float) -> str:
    """A text that the engine gives so many seconds to, in one piece."""
    words = (WORDS * 9).split()
    num = next(
        n
        for n in range(1, 99)
        if max_audio_tokens(" ".join(words[:n]), LANGUAGE) * TOKEN_S >= seconds
    )
    return " ".join(words[:num])


@dataclass(frozen=True, slots=True)
class Spoken:
    """What came of a request: seconds to the first sound and to the end, and how long the sound is."""

    first_s: float
    all_s: float
    sound_s: float

    @property
    def rtf(self) -> float:
        """Seconds of work for a second of sound."""
        return self.all_s / self.sound_s


class Ours:
    """The engine with one model."""

    def __init__(self, engine: Engine[XttsTurn], folder: XttsFolder, speaker: str) -> None:
        self._engine, self._folder, self._speaker = engine, folder, speaker

    def ask(self, text: str) -> "queue.Queue[tuple[float, Any]]":
        """The events of a request, each with its moment."""
        events: queue.Queue[tuple[float, Any]] = queue.Queue()
        voice = StudioVoice(self._speaker)
        turn = XttsTurn(self._folder, text, LANGUAGE, voice, 1.0, "pcm", stream=True)
        self._engine.submit(turn, lambda event: events.put((time.perf_counter(), event)))
        return events

    def speak(self, text: str) -> Spoken:
        """A request, to its end."""
        begun = time.perf_counter()
        return heard(self.ask(text), begun, text)


def heard(events: "queue.Queue[tuple[float, Any]]", begun: float, text: str) -> Spoken:
    """A request's events, to the end; all its tokens count, also those that are cut off where a sentence did
    not end. Raises the error it ended with."""
    first = 0.0
    while True:
        moment, event = events.get()
        if isinstance(event, Failed):
            raise event.error
        if isinstance(event, Done):
            return Spoken(first - begun, moment - begun, max_audio_tokens(text, LANGUAGE) * TOKEN_S)
        first = first or moment


class Librarys:
    """The library's model."""

    def __init__(self, folder: XttsFolder, speaker: str) -> None:
        from TTS.tts.configs.xtts_config import XttsConfig
        from TTS.tts.models.xtts import Xtts

        config = XttsConfig()
        config.load_json(folder.path / "config.json")
        self.model: Any = Xtts(config)
        self.model.load_checkpoint(config, checkpoint_dir=folder.path, eval=True)
        self._voice = tuple(self.model.speaker_manager.speakers[speaker].values())

    def speak(self, text: str, stream: bool = True) -> Spoken:
        """A text in one piece, with as many tokens as the engine gives it."""
        self.model.gpt.max_gen_mel_tokens = max_audio_tokens(text, LANGUAGE)
        begun, first, num_samples = time.perf_counter(), 0.0, 0
        if not stream:
            num_samples = len(self.model.inference(text, LANGUAGE, *self._voice)["wav"])
        else:
            for chunk in self.model.inference_stream(text, LANGUAGE, *self._voice):
                first = first or time.perf_counter()
                num_samples += len(chunk)
        ended = time.perf_counter()
        return Spoken((first or ended) - begun, ended - begun, num_samples / 24_000)


def median(values: Sequence[float]) -> str:
    """A median with three digits."""
    return f"{statistics.median(values):.3g}"


def print_row(label: str, ours: Sequence[float], theirs: Sequence[float], reach: str) -> None:
    """A line of the table; the ratio is ours to theirs."""
    ratio = "–"
    if theirs:
        ratios = [our / their for our, their in zip(ours, theirs, strict=True)]
        ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"
    print(
        f"| {label} | {median(ours)} | {median(theirs) if theirs else '–'} | {ratio} | {reach} |",
        flush=True,
    )


def in_turn(num_runs: int, *deeds: Callable[[], Spoken]) -> list[list[Spoken]]:
    """What each deed gives, in rounds, the first of a round another one each time."""
    results: list[list[Spoken]] = [[] for _ in deeds]
    for run in range(num_runs):
        order = [(run + i) % len(deeds) for i in range(len(deeds))]
        for i in order:
            results[i].append(deeds[i]())
    return results


def speed(ours: Ours, library: Librarys, num_runs: int) -> None:
    """The rows that compare speed."""
    ten, twenty = text_of(10), text_of(20)
    mine, theirs = in_turn(num_runs, lambda: ours.speak(ten), lambda: library.speak(ten, False))
    print_row(
        "10 s against `inference`: real-time factor",
        [s.rtf for s in mine],
        [s.rtf for s in theirs],
        "<= 0.95; <= 0.40",
    )
    mine, theirs = in_turn(num_runs, lambda: ours.speak(twenty), lambda: library.speak(twenty))
    print_row(
        "20 s against `inference_stream`: seconds in all",
        [s.all_s for s in mine],
        [s.all_s for s in theirs],
        "<= 0.20",
    )
    print_row(
        "… seconds to the first sound",
        [s.first_s for s in mine],
        [s.first_s for s in theirs],
        "<= 0.50",
    )
    for seconds in (2, 5, 12, 25):
        runs = [ours.speak(text_of(seconds)) for _ in range(num_runs)]
        print_row(f"stream, {seconds} s: real-time factor", [s.rtf for s in runs], [], "flat")


def crowd(ours: Ours, num_runs: int) -> None:
    """Three clients at once."""
    text = text_of(8)
    paces, firsts, alone = [], [], []
    for _ in range(num_runs):
        one = ours.speak(text)
        alone.append(one.sound_s / one.all_s)
        begun = time.perf_counter()
        three = [heard(events, begun, text) for events in [ours.ask(text) for _ in range(3)]]
        paces.append(sum(s.sound_s for s in three) / max(s.all_s for s in three))
        firsts.append(max(s.first_s for s in three))
    print_row("three at once: seconds of sound per second (against one)", paces, alone, ">= 1.25")
    print_row("… seconds until the last has its first sound", firsts, [], "<= 3")


def exactness(folder: XttsFolder, library: Librarys) -> None:
    """How far what is computed here is from what the library computes."""
    import torch

    from engine_room.xtts.coqui import CoquiXtts
    from engine_room.xtts.gpt import Span
    from engine_room.xtts.gpt_llama import LlamaGpt

    coqui = CoquiXtts(folder)
    rng = np.random.default_rng(1)
    width = coqui.shape.width
    inputs = rng.standard_normal((64, width)).astype(np.float32)
    with torch.inference_mode():
        wanted = library.model.gpt.gpt(inputs_embeds=torch.from_numpy(inputs)[None])
    wanted = wanted.last_hidden_state[0].numpy()
    with tempfile.TemporaryDirectory() as made:
        for kind, reach in (("q8_0", ">= 0.999"), ("f16", ">= 0.99999")):
            coqui.write_gpt(Path(made) / GPT_FILE, kind, lambda layer: None)
            gpt = LlamaGpt(Path(made) / GPT_FILE, 1, 128)
            hidden = np.stack(
                [gpt.decode([Span(0, i, inputs[i : i + 1])], 2)[0] for i in range(64)]
            )
            gpt.close()
            norms = np.linalg.norm(hidden, axis=1) * np.linalg.norm(wanted, axis=1)
            cosine = float(((hidden * wanted).sum(1) / norms).min())
            label = f"GGUF {kind}, {coqui.num_layers} layers: lowest cosine to torch"
            print(f"| {label} | {cosine:.7f} | | | {reach} |")
    latents = rng.standard_normal((120, width)).astype(np.float32)
    speaker = rng.standard_normal(512).astype(np.float32)
    speaker /= np.linalg.norm(speaker)
    with torch.inference_mode():
        whole = library.model.hifigan_decoder(
            torch.from_numpy(latents)[None], g=torch.from_numpy(speaker).reshape(1, -1, 1)
        ).reshape(-1)
    networks: dict[str, Network] = {
        "torch": coqui.vocode,
        "ONNX": OnnxVocoder(folder.converted / VOCODER_FILE, 2),
    }
    for name, network in networks.items():
        stream = VocoderStream(network, speaker, coqui.stretches)
        parts = [stream.add(latents[i : i + 24], i == 96)() for i in range(0, 120, 24)]
        difference = float(np.abs(np.concatenate(parts) - whole.numpy()).max())
        print(f"| vocoder in windows, {name}: largest difference | {difference:.1e} | | | < 1e-5 |")


def voices(ours_dir: Path, folder: XttsFolder) -> None:
    """How long a voice takes, new and known."""
    from engine_room.xtts.conditioning import ConditioningCache
    from engine_room.xtts.coqui import CoquiXtts

    coqui = CoquiXtts(folder)
    clip = ours_dir / "clip.bin"
    samples = (np.random.default_rng(1).standard_normal(24_000 * 30) * 0.1).astype(np.float32)
    clip.write_bytes(samples.tobytes())
    cache = ConditioningCache(
        ours_dir / "kept", "bench", lambda clips: coqui.conditioning([Sound(samples, 24_000)])
    )
    for label, reach in (
        ("a new voice's conditioning, 30 s of clip", "–"),
        ("a known voice's", "< 0.005"),
    ):
        begun = time.perf_counter()
        cache.of([clip])
        print_row(f"{label}, seconds", [time.perf_counter() - begun], [], reach)


@contextmanager
def opened(engine: Engine[XttsTurn]) -> Iterator[Engine[XttsTurn]]:
    """An engine, closed at the end."""
    engine.open()
    try:
        yield engine
    finally:
        engine.close()


def main() -> None:
    """Build or take the model, and print the table."""
    parser = argparse.ArgumentParser(description="Cloned voices against the library.")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--model-dir", type=Path, help="a real XTTS-v2 folder")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    os.chdir(PROJECT_DIR)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder = XttsFolder(arguments.model_dir or _built(scratch / "xtts_v2"))
        from engine_room.xtts.studio import speaker_names

        speaker = speaker_names(folder)[0]
        settings = Settings(voice_clones_dir=scratch, audio_dir=scratch, audio_keep_files=0)
        engine = stack.enter_context(opened(cloning_engine(settings, Recordings(settings))))
        ours = Ours(engine, folder, speaker)
        before_mb = psutil.Process().memory_info().rss / 1e6
        ours.speak("warm")  # loads the model
        ours_mb = psutil.Process().memory_info().rss / 1e6
        library = Librarys(folder, speaker)
        library.speak("warm", False)
        both_mb = psutil.Process().memory_info().rss / 1e6
        print("| | this server's engine | the library | ratio | reach |\n|---|---|---|---|---|")
        speed(ours, library, arguments.runs)
        crowd(ours, arguments.runs)
        exactness(folder, library)
        voices(scratch, folder)
        print_row("memory, MB", [ours_mb - before_mb], [both_mb - ours_mb], "stated")


def _built(path: Path) -> Path:
    from tests.xtts_models import FULL, write_xtts

    return write_xtts(path, FULL)


if __name__ == "__main__":
    main()
