"""The speech engine of the standard voices: one thread that turns text into blocks of sound."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from engine_room.cores import Cores
from engine_room.encoding import Samples, Sound
from engine_room.errors import NothingToSay
from engine_room.fetched_voices import FetchedVoice
from engine_room.jobs import Done, Engine, Event, Job, Serve, serially
from engine_room.metrics import Metrics
from engine_room.settings import Settings
from engine_room.speech_english import written_out
from engine_room.speech_text import pieces, speakable_english
from engine_room.spoken import SILENT, SpokenBlock
from engine_room.standard_voices import SPEECH_ROOT, STANDARD_VOICES, StandardVoice

# Pieces that are spoken at once where nobody else computes; each takes one thread, for the voice's network is
# slower with two where others compute too (57 times real time instead of 89).
NUM_AT_ONCE = 2
# Between two sentences at a `pause_ratio` of 2; what the voice itself leaves is about as long.
PAUSE_S = 0.4
WARM_UP = "On May 5th, 2024, at 10:30 a.m., it cost $3.50 at example.com."
FRAME_S = 0.0125  # of the network; what it says is counted in them, what it reads in characters


@dataclass(frozen=True, slots=True)
class SpeechTurn:
    """One text in one voice. The items of its answer are SpokenBlocks, one a piece of the text; `by_sentence`
    makes each sentence one. `pitch_ratio` multiplies the voice's pitch, `pause_ratio` its pauses between
    sentences."""

    text: str
    language: str
    voice: StandardVoice
    speed: float = 1.0
    pitch_ratio: float = 1.0
    pause_ratio: float = 1.0
    by_sentence: bool = False


def speech_engine(
    settings: Settings, cores: Cores | None = None, metrics: Metrics | None = None
) -> Engine[SpeechTurn]:
    """The engine, not yet open."""
    in_memory: set[str] = set()

    def load() -> Serve[SpeechTurn]:
        # Late: the server answers before it is loaded.
        from engine_room.speech_light import LightVoice

        light = LightVoice()
        # What is loaded at a first use (patterns, languages) would take half a second of a first request.
        turn = SpeechTurn(WARM_UP, "", STANDARD_VOICES["nova"])
        list(Speech(light).answer(Job(turn, lambda event: None)))
        in_memory.add(SPEECH_ROOT)
        return serially(Speech(light, cores, metrics).answer)

    return Engine("speech", load, settings.max_queued, in_memory=in_memory)


def _fetched(voice: FetchedVoice) -> Any:
    from engine_room.speech_light import LightVoice

    return LightVoice(model=voice.model, is_british=voice.is_british)


class Speech:
    """The light voice, and how a turn is answered with it, or with a fetched one, which is loaded when it is
    first asked for. Belongs to the engine's thread."""

    def __init__(
        self,
        light: Any,
        cores: Cores | None = None,
        metrics: Metrics | None = None,
        load: Callable[[FetchedVoice], Any] = _fetched,
    ) -> None:
        self._light = light
        self._load = load
        self._loaded: dict[FetchedVoice, Any] = {}
        self._cores = cores or Cores()
        self._metrics = metrics or Metrics()
        self._speakers = ThreadPoolExecutor(NUM_AT_ONCE, "speech")

    def answer(self, job: Job[SpeechTurn]) -> Iterator[Event]:
        """Blocks of sound, then Done. Raises NothingToSay, InvalidRequest."""
        turn, is_silent = job.turn, True
        for piece, samples in self._spoken(turn):
            if job.cancelled:
                return
            if len(samples):
                is_silent = False
                seconds = len(samples) / self._light.sample_rate_hz
                self._metrics.spoke("speech", len(piece), seconds)
                sound = Sound(self._paused(samples, turn), self._light.sample_rate_hz)
                yield SpokenBlock(sound, piece, len(piece), round(seconds / FRAME_S))
        if is_silent:
            raise NothingToSay
        yield Done()

    def _spoken(self, turn: SpeechTurn) -> Iterator[tuple[str, Samples]]:
        """The pieces of the text and their sound, in order; the next is spoken meanwhile, if there are cores
        for it."""
        light = self._light_of(turn.voice)
        voice = turn.voice.character
        voice = replace(voice, pitch_ratio=voice.pitch_ratio * turn.pitch_ratio)
        by_sentence = turn.by_sentence or turn.pause_ratio != 1
        text = speakable_english(turn.text, turn.language)
        speaking: deque[tuple[str, Future[Samples]]] = deque()
        for piece in pieces(text, by_sentence=by_sentence):
            said = written_out(piece)
            future = self._speakers.submit(light.speak, said, voice, turn.speed)
            speaking.append((piece, future))
            while len(speaking) >= self._num_at_once():
                yield self._said(*speaking.popleft())
        while speaking:
            yield self._said(*speaking.popleft())

    def _light_of(self, voice: StandardVoice) -> Any:
        if not isinstance(voice, FetchedVoice):
            return self._light
        if voice not in self._loaded:
            self._loaded[voice] = self._load(voice)
        return self._loaded[voice]

    def _num_at_once(self) -> int:
        with self._cores.working("speech", NUM_AT_ONCE):
            return self._cores.share("speech")

    def _said(self, piece: str, future: Future[Samples]) -> tuple[str, Samples]:
        with self._cores.working("speech", NUM_AT_ONCE):
            return piece, future.result()

    def _paused(self, samples: Samples, turn: SpeechTurn) -> Samples:
        """A sentence with its pause made longer, or, as far as it ends with silence, shorter."""
        more_s = (turn.pause_ratio - 1) * PAUSE_S / turn.speed
        num_more = round(more_s * self._light.sample_rate_hz)
        if num_more < 0:
            loud = np.flatnonzero(np.abs(samples) > SILENT)
            return samples[: max(int(loud[-1]) + 1 if len(loud) else 0, len(samples) + num_more)]
        return np.concatenate([samples, np.zeros(num_more, np.float32)]) if num_more else samples
