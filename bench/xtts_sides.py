"""The sides of the bench of cloned voices: this server's engine, its torch path, and the library."""

import json
import queue
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from bench.clients import PROJECT_DIR, program
from engine_room.clones import ClonedVoice
from engine_room.encoding import Sound
from engine_room.jobs import Done, Engine, Failed
from engine_room.settings import Settings
from engine_room.xtts.engine import cloning_engine
from engine_room.xtts.folder import XttsFolder
from engine_room.xtts.gpt import Conditioning
from engine_room.xtts.pace import TOKEN_S, max_audio_tokens
from engine_room.xtts.sampling import AudioSampler
from engine_room.xtts.text import pieces, spoken
from engine_room.xtts.turn import StudioVoice, XttsTurn
from engine_room.xtts.utterance import Utterance, latents_and_logits
from engine_room.xtts.vocoder import VocoderStream

LANGUAGE = "en"
RATE_HZ = 24_000
WORDS = "the quick brown fox jumps over a lazy dog while seven old ships sail slowly home "
MEMORY_TEXT = "The quick brown fox jumps over a lazy dog."
# A piece of sound: the moment it came, and its length in seconds.
Piece = tuple[float, float]


def text_of(seconds: float) -> str:
    """A text that the engine gives so many seconds to, in one piece."""
    words = (WORDS * 9).split()
    num = next(
        n
        for n in range(1, 99)
        if max_audio_tokens(" ".join(words[:n]), LANGUAGE) * TOKEN_S >= seconds
    )
    return " ".join(words[:num])


def late_s(sounds: Sequence[Piece]) -> float:
    """Seconds that somebody waits in all who plays the first sound when it comes, and each as soon as it is
    there and those before it are over."""
    waited_s, before_s = 0.0, 0.0
    for moment, seconds in sounds:
        waited_s = max(waited_s, moment - sounds[0][0] - before_s)
        before_s += seconds
    return waited_s


@dataclass(frozen=True, slots=True)
class Spoken:
    """What came of a request: the seconds it took, how long the sound is, and its pieces."""

    begun: float
    ended: float
    sound_s: float
    sounds: tuple[Piece, ...]

    @property
    def first_s(self) -> float:
        """Seconds to the first sound."""
        return self.sounds[0][0] - self.begun

    @property
    def all_s(self) -> float:
        """Seconds to the end."""
        return self.ended - self.begun

    @property
    def rtf(self) -> float:
        """Seconds of work for a second of sound."""
        return self.all_s / self.sound_s

    @property
    def late_s(self) -> float:
        """Seconds that a listener waits in all after the first sound."""
        return late_s(self.sounds)


Events = queue.Queue[tuple[float, Any]]


class Ours:
    """The engine with one model. An `is_endless` one has random weights that end no sentence: all tokens it
    was given count, also those that are cut off for that."""

    def __init__(
        self, engine: Engine[XttsTurn], folder: XttsFolder, speaker: str, is_endless: bool
    ) -> None:
        self._engine, self._folder, self._is_endless = engine, folder, is_endless
        self._voice = StudioVoice(speaker)

    def ask(
        self,
        text: str,
        stream: bool = True,
        voice: ClonedVoice | StudioVoice | None = None,
        seed: int = -1,
    ) -> Events:
        """The events of a request, each with its moment."""
        events: Events = queue.Queue()
        voice = voice or self._voice
        turn = XttsTurn(self._folder, text, LANGUAGE, voice, 1.0, stream, seed)
        self._engine.submit(turn, lambda event: events.put((time.perf_counter(), event)))
        return events

    def speak(self, text: str, stream: bool = True) -> Spoken:
        """A request, to its end."""
        begun = time.perf_counter()
        return self.heard(self.ask(text, stream), begun, text)

    def heard(self, events: Events, begun: float, text: str) -> Spoken:
        """What came of a request. Raises the error it ended with."""
        *blocks, (ended, _) = answer(events)
        sounds = [(moment, block.sound.duration_s) for moment, block in blocks]
        sound_s = sum(seconds for _, seconds in sounds)
        if self._is_endless:
            sound_s = max_audio_tokens(text, LANGUAGE) * TOKEN_S
        return Spoken(begun, ended, sound_s, tuple(sounds))

    def say(
        self, text: str, voice: ClonedVoice | StudioVoice, seed: int, stream: bool = False
    ) -> Sound:
        """The sound of a text."""
        *blocks, _ = answer(self.ask(text, stream, voice, seed))
        return Sound(np.concatenate([block.sound.samples for _, block in blocks]), RATE_HZ)


def answer(events: Events) -> list[tuple[float, Any]]:
    """All events of an answer, Done the last. Raises the error it ended with."""
    all_events = [events.get()]
    while not isinstance(event := all_events[-1][1], Done):
        if isinstance(event, Failed):
            raise event.error
        all_events.append(events.get())
    return all_events


@contextmanager
def engine_of(settings: Settings, cores: Any = None) -> Iterator[Engine[XttsTurn]]:
    """The engine, open; closed at the end."""
    engine = cloning_engine(settings, cores)
    engine.open()
    try:
        yield engine
    finally:
        engine.close()


def scratch_settings(path: Path, **changes: Any) -> Settings:
    """Settings with a folder of their own, which keep no sound."""
    return Settings(
        _env_file=None, voice_clones_dir=path, audio_dir=path, audio_keep_files=0, **changes
    )


class Torch:
    """What the engine does on a GPU, a sentence at a time, without looking for faults."""

    def __init__(self, folder: XttsFolder, device: str = "cpu") -> None:
        from engine_room.xtts.coqui import CoquiXtts

        self.coqui = CoquiXtts(folder, device, with_gpt=True)
        self._tables = self.coqui.tables()
        self._gpt = self.coqui.torch_gpt(1, self.coqui.shape.num_positions)

    def say(self, text: str, voice: Conditioning, seed: int, num_threads: int = 2) -> Sound:
        """The sound of a text that is one piece."""
        tokens = self.coqui.text_tokens(spoken(text, LANGUAGE), LANGUAGE)
        # The engine's first sentence has the seed after the request's.
        sampler = AudioSampler(self.coqui.sampling, seed + 1, self._tables.start_audio)
        num_max = max_audio_tokens(text, LANGUAGE)
        utterance = Utterance(self._tables, voice, tokens, sampler, num_max)
        utterance.seq_id = 0
        while not utterance.is_over:
            hidden = self._gpt.decode([utterance.span()], num_threads)
            latents, logits = latents_and_logits(self._tables, hidden)
            utterance.accept(latents[0], logits[0])
        self._gpt.forget(0)
        vocoder = VocoderStream(self.coqui.vocode, voice.speaker, self.coqui.stretches)
        return Sound(vocoder.add(utterance.take(), is_last=True)(), self.coqui.sample_rate_hz)


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
        """A text, with as many tokens as the engine gives it: streamed in one piece, or in the pieces that
        the engine makes of it."""
        begun = time.perf_counter()
        sounds = []
        for chunk in self._streamed(text) if stream else self._whole(text):
            sounds.append((time.perf_counter(), len(chunk) / RATE_HZ))
        sound_s = sum(seconds for _, seconds in sounds)
        return Spoken(begun, time.perf_counter(), sound_s, tuple(sounds))

    def _streamed(self, text: str) -> Iterator[Any]:
        self.model.gpt.max_gen_mel_tokens = max_audio_tokens(text, LANGUAGE)
        yield from self.model.inference_stream(text, LANGUAGE, *self._voice)

    def _whole(self, text: str) -> Iterator[Any]:
        for piece in pieces(text, LANGUAGE, len):
            yield self._inferred(piece.text, self._voice)

    def _inferred(self, text: str, voice: tuple[Any, ...]) -> Any:
        self.model.gpt.max_gen_mel_tokens = max_audio_tokens(text, LANGUAGE)
        return self.model.inference(text, LANGUAGE, *voice)["wav"]

    def say(self, text: str, voice: Conditioning, seed: int) -> Sound:
        """The sound of a text that is one piece, in a voice as the engine conditions it."""
        import torch

        torch.manual_seed(seed)
        latents = torch.from_numpy(voice.latents)[None]
        speaker = torch.from_numpy(voice.speaker).reshape(1, -1, 1)
        samples = np.asarray(self._inferred(text, (latents, speaker)), np.float32)
        return Sound(samples, RATE_HZ)


def memory_gb(side: str, folder: XttsFolder, speaker: str) -> dict[str, float]:
    """What a process of its own takes more when it has spoken a sentence on this side ("ours", "torch",
    "library"): resident at the end, and at most."""
    command = program("bench.xtts_sides", "print_memory", side, str(folder.path), speaker)
    done = subprocess.run(command, cwd=PROJECT_DIR, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def print_memory(side: str, path: str, speaker: str) -> None:
    """Speak, and print what it took."""
    folder, before = XttsFolder(Path(path)), _resident_gb()
    with tempfile.TemporaryDirectory() as scratch:
        if side == "ours":
            with engine_of(scratch_settings(Path(scratch))) as engine:
                Ours(engine, folder, speaker, False).speak(MEMORY_TEXT)
                after = _resident_gb()
        elif side == "torch":
            torch = Torch(folder)
            torch.say(MEMORY_TEXT, torch.coqui.speakers()[speaker], 1)
            after = _resident_gb()
        else:
            library = Librarys(folder, speaker)
            library.speak(MEMORY_TEXT, stream=False)
            after = _resident_gb()
    print(json.dumps({"resident": after - before, "peak": _peak_gb() - before}))


def _resident_gb() -> float:
    return float(psutil.Process().memory_info().rss) / 1e9


def _peak_gb() -> float:
    """The most that has been resident; nan where Linux does not say it. Not `getrusage`, which counts what
    the process was forked from."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    peaks_kb = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    return peaks_kb[0] * 1024 / 1e9 if peaks_kb else float("nan")
