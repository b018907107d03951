"""The transcription engine: one thread that writes down what is said."""

import logging
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine_room.cores import Cores
from engine_room.jobs import Done, Engine, Event, Job, MemoryTurn, Serve, serially
from engine_room.metrics import Metrics
from engine_room.settings import Settings
from engine_room.transcription_turn import TranscriptionTurn
from engine_room.whisper_models import WhisperFolder, WhisperModels

log = logging.getLogger(__name__)
Asked = TranscriptionTurn | MemoryTurn[Path]  # by the model's folder
MAX_MODELS = 2  # in memory at once; of more, the one longest not used goes


def transcription_engine(
    settings: Settings,
    models: WhisperModels,
    cores: Cores | None = None,
    metrics: Metrics | None = None,
) -> Engine[Asked]:
    """The engine, not yet open."""

    in_memory: set[str] = set()

    def load() -> Serve[Asked]:
        transcription = Transcription(settings, models, cores, metrics, in_memory)
        transcription.use(models.find("").path)
        idle_after_s = settings.transcription_unload_after_s or None
        return serially(transcription.answer, transcription.unload, idle_after_s)

    return Engine("transcription", load, settings.max_queued, in_memory=in_memory)


class Transcription:
    """The models in memory. Belongs to the engine's thread."""

    def __init__(
        self,
        settings: Settings,
        models: WhisperModels,
        cores: Cores | None = None,
        metrics: Metrics | None = None,
        in_memory: set[str] | None = None,
    ) -> None:
        """The ids of the models that are there are `in_memory`."""
        # Late: the server answers before this library is loaded.
        from engine_room.transcription_whisper import WhisperModel, best_device

        self._make = WhisperModel
        self._num_threads = settings.transcription_threads
        self._device = best_device(settings.transcription_device)
        self._models = models
        self._cores, self._metrics = cores, metrics
        self._loaded: OrderedDict[Path, WhisperModel] = OrderedDict()
        self._in_memory = set() if in_memory is None else in_memory

    def use(self, path: Path) -> None:
        """Have a model in memory, as the one used last. Raises Unavailable."""
        if path in self._loaded:
            self._loaded.move_to_end(path)
            return
        if len(self._loaded) == MAX_MODELS:
            self._drop(next(iter(self._loaded)))
        ready = self._models.ready(WhisperFolder(path))
        self._loaded[path] = self._make(
            ready, self._num_threads, self._cores, self._metrics, self._device
        )
        self._in_memory.add(path.name)
        log.info("transcription model %s loaded on %s", path.name, self._device)

    def _drop(self, path: Path) -> None:
        """Free the memory of one, if it is there."""
        self._loaded.pop(path, None)
        self._in_memory.discard(path.name)

    def unload(self) -> None:
        """Free the memory of all; each is loaded again when it is asked for."""
        if self._loaded:
            log.info("%s unloaded: nobody asked for it", ", ".join(self._in_memory))
        self._loaded.clear()
        self._in_memory.clear()

    def answer(self, job: Job[Any]) -> Iterator[Event]:
        """Segments, then Done; see `WhisperModel`."""
        turn: Asked = job.turn
        if isinstance(turn, TranscriptionTurn):
            self.use(turn.folder)
            yield from self._loaded[turn.folder].answer(job)
            return
        if turn.is_to_stay:
            self.use(turn.model)
        else:
            self._drop(turn.model)
        yield Done()
