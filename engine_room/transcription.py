"""The transcription engine: one thread that writes down what is said."""

from engine_room.catalogue import Catalogue
from engine_room.cores import Cores
from engine_room.jobs import Engine, Serve, serially
from engine_room.metrics import Metrics
from engine_room.settings import Settings
from engine_room.transcription_turn import TranscriptionTurn


def transcription_engine(
    settings: Settings,
    catalogue: Catalogue,
    cores: Cores | None = None,
    metrics: Metrics | None = None,
) -> Engine[TranscriptionTurn]:
    """The engine, not yet open."""

    def load() -> Serve[TranscriptionTurn]:
        folder = catalogue.whisper_dir()
        # Late: the server answers before this library is loaded.
        from engine_room.transcription_whisper import WhisperModel

        model = WhisperModel(folder, settings.transcription_threads, cores, metrics)
        return serially(model.answer)

    return Engine("transcription", load, settings.max_queued)
