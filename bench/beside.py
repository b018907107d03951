"""Chat beside speech and transcription: all three at once in this server; beside a peer, which does chat
only, the same speech and transcription in processes of their own.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench import clients
from bench.clients import OURS, Server, story
from bench.startup import LONG, SHORT, upload

# How long they work beside each other in a round.
WINDOW_S = 20.0


@dataclass(frozen=True, slots=True)
class Beside:
    """Chat beside speech and transcription; the peers' do the same work in processes of their own."""

    speaking: subprocess.Popen[str]
    hearing: subprocess.Popen[str]
    sound: bytes

    def load(self, server: Server, tag: str) -> list[float]:
        """All three at once for a while: tokens, and seconds of sound spoken and heard, per second."""

        def write() -> float:
            return server.chat(story(f"{tag}-{time.perf_counter()}", 200)).num_tokens

        def speak() -> float:
            return sound_s(spoken(server, SHORT))

        def hear() -> float:
            server.post("/v1/audio/transcriptions", *upload(self.sound))
            return sound_s(self.sound)

        others = [partial(pace_of, self.speaking), partial(pace_of, self.hearing)]
        if server.name == OURS:
            others = [partial(pace, speak), partial(pace, hear)]
        return clients.together([partial(pace, write), *others])


@contextmanager
def beside(server: Server, log: Path) -> Iterator[Beside]:
    """The two processes, warm and waiting; the sound to be heard is spoken by this server."""
    file = log.parent / "sound.wav"
    file.write_bytes(spoken(server, LONG))
    speak, hear = (clients.program("bench.beside", "work", kind, str(file)) for kind in "sh")
    with (
        clients.running(speak, log, is_piped=True) as speaking,
        clients.running(hear, log, is_piped=True) as hearing,
    ):
        for process in (speaking, hearing):
            assert process.stdout
            process.stdout.readline()
        yield Beside(speaking, hearing, file.read_bytes())


def work(kind: str, file: str) -> None:
    """Speak ("s") or transcribe ("h") for a while at each line read, and print the pace."""
    deed = _speaking() if kind == "s" else _hearing(Path(file).read_bytes())
    deed()
    print("ready", flush=True)
    for _ in sys.stdin:
        print(pace(deed), flush=True)


def _speaking() -> Callable[[], float]:
    from engine_room.speech_light import LightVoice
    from engine_room.standard_voices import STANDARD_VOICES

    voice, character = LightVoice(), STANDARD_VOICES["alloy"].character
    return lambda: len(voice.speak(SHORT, character)) / voice.sample_rate_hz


def _hearing(sound: bytes) -> Callable[[], float]:
    from engine_room.jobs import Job
    from engine_room.settings import Settings
    from engine_room.transcription_turn import TranscriptionTurn
    from engine_room.transcription_whisper import WhisperModel
    from engine_room.whisper_models import WhisperModels

    models = WhisperModels(Settings().models_dir)
    model = WhisperModel(models.ready(models.bundled), os.cpu_count() or 1)
    job = Job(TranscriptionTurn(sound, model.folder), print)
    return lambda: sound_s(sound) if list(model.answer(job)) else 0.0


def pace(deed: Callable[[], float]) -> float:
    """How much a second is done by doing it again and again for a while."""
    begun, done = time.perf_counter(), 0.0
    while (now := time.perf_counter()) < begun + WINDOW_S:
        done += deed()
    return done / (now - begun)


def pace_of(process: subprocess.Popen[str]) -> float:
    """The same, measured in another process."""
    assert process.stdin
    assert process.stdout
    print(file=process.stdin, flush=True)
    return float(process.stdout.readline())


def spoken(server: Server, text: str) -> bytes:
    """The text as a wav file."""
    request = {"input": text, "voice": "alloy", "response_format": "wav"}
    return server.post("/v1/audio/speech", json.dumps(request).encode())


def sound_s(wav: bytes) -> float:
    """How long one of our wav files sounds: 24 kHz, 16 bits, a head of 44 bytes."""
    return (len(wav) - 44) / 48_000
