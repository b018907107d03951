"""The speech engine: one thread that turns text into blocks of an encoded file."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine_room.cores import Cores
from engine_room.encoding import Encoder, Sound, encode, with_true_sizes
from engine_room.errors import InvalidRequest
from engine_room.jobs import Done, Engine, Event, Job, Serve, serially
from engine_room.metrics import Metrics
from engine_room.recordings import Recordings
from engine_room.settings import Settings
from engine_room.speech_text import pieces, speakable_english
from engine_room.standard_voices import StandardVoice

log = logging.getLogger(__name__)
NUM_THREADS = (
    1  # of the light voice: 89 times real time, and with two 57 times where others compute too
)


@dataclass(frozen=True, slots=True)
class SpeechTurn:
    """One request to the speech engine. The items of its answer are blocks of bytes of `format_name`:
    one with the whole file, or, with `stream`, one a piece of the text."""

    text: str
    language: str
    voice: StandardVoice
    speed: float
    format_name: str
    stream: bool


def speech_engine(
    settings: Settings,
    recordings: Recordings,
    cores: Cores | None = None,
    metrics: Metrics | None = None,
) -> Engine[SpeechTurn]:
    """The engine, not yet open."""

    def load() -> Serve[SpeechTurn]:
        from engine_room.speech_light import (
            LightVoice,
        )  # late: the server answers before it is loaded

        return serially(Speech(LightVoice(), recordings, cores, metrics).answer)

    return Engine("speech", load, settings.max_queued)


class Speech:
    """The light voice and how a turn is answered with it. Belongs to the engine's thread."""

    def __init__(
        self,
        light: Any,
        recordings: Recordings,
        cores: Cores | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._light = light
        self._cores = cores or Cores()
        self._metrics = metrics or Metrics()
        self._recordings = recordings

    def answer(self, job: Job[SpeechTurn]) -> Iterator[Event]:
        """Blocks of bytes, then Done."""
        turn = job.turn
        blocks: list[bytes] = []
        for block in self._streamed(job) if turn.stream else self._whole(job):
            blocks.append(block)
            yield block
        if job.cancelled:
            return
        data = with_true_sizes(turn.format_name, b"".join(blocks))
        self._recordings.keep(data, turn.voice.id, turn.text, turn.format_name)
        yield Done()

    def _sounds(self, job: Job[SpeechTurn]) -> Iterator[Any]:
        """The pieces of the text as samples. Raises InvalidRequest when there is nothing to hear."""
        turn = job.turn
        text = speakable_english(turn.text, turn.language)
        silent = True
        for piece in pieces(text):
            if job.cancelled:
                return
            with self._cores.working("speech", NUM_THREADS):
                samples = self._light.speak(piece, turn.voice.character, turn.speed)
            if len(samples):
                silent = False
                seconds = len(samples) / self._light.sample_rate_hz
                self._metrics.spoke("speech", len(piece), seconds)
                yield samples
        if silent:
            raise InvalidRequest("input has nothing in it that can be spoken.", param="input")

    def _streamed(self, job: Job[SpeechTurn]) -> Iterator[bytes]:
        encoder = Encoder(job.turn.format_name, self._light.sample_rate_hz)
        for samples in self._sounds(job):
            if block := encoder.add(samples):
                yield block
        if block := encoder.finish():
            yield block

    def _whole(self, job: Job[SpeechTurn]) -> Iterator[bytes]:
        sounds = list(self._sounds(job))
        if not job.cancelled:
            yield encode(
                Sound(np.concatenate(sounds), self._light.sample_rate_hz), job.turn.format_name
            )
