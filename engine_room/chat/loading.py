"""The chat engine of a server, put together: what loads a model, and how much memory all may take."""

import math
from collections.abc import Callable

from engine_room.catalogue import Catalogue, ChatFile
from engine_room.chat.engine import Chat, num_sequences
from engine_room.chat.memory import (
    Memory,
    file_bytes,
    gpu_share,
    needed_bytes,
    shared,
    with_room,
)
from engine_room.chat.options import ModelOptions, model_options
from engine_room.chat.resident import Loaded
from engine_room.chat.residents import Residents
from engine_room.cores import Cores
from engine_room.errors import Unavailable
from engine_room.memory_fit import free_bytes, free_gpu_bytes, free_now
from engine_room.metrics import Metrics
from engine_room.settings import Settings

# Of the memory that is free at the start, what the models may take where no setting says it: the rest is for
# past prompts, what computes beside them, and other programs.
FREE_SHARE = 0.8


def chat_engine(
    settings: Settings,
    catalogue: Catalogue,
    cores: Cores | None = None,
    metrics: Metrics | None = None,
) -> Residents:
    """The engine, not yet open."""
    all_cores, all_metrics = cores or Cores(), metrics or Metrics()

    def default() -> ChatFile:
        return catalogue.chat("")

    def eyes_bytes(file: ChatFile) -> int:
        return file_bytes(file.mmproj) if file.mmproj else 0

    def is_default(file: ChatFile) -> bool:
        try:
            return file == default()
        except Unavailable:
            return False

    def options_of(file: ChatFile) -> ModelOptions:
        num_ids = num_sequences(settings)
        return model_options(settings, num_ids, 1, is_default(file), file.loading)

    def load(file: ChatFile, should_stop: Callable[[], bool]) -> Loaded:
        on_gpu = gpu_share(file.path, options_of(file), free_now())
        chat = Chat(file, settings, all_cores, all_metrics, is_default(file))
        chat.load(should_stop)
        return Loaded(chat.serve, shared(chat.memory_bytes + eyes_bytes(file), on_gpu))

    def need_of(file: ChatFile) -> Memory:
        free, options = free_now(), options_of(file)
        num_bytes = needed_bytes(file.path, with_room(options, file.path, free))
        return shared(num_bytes + eyes_bytes(file), gpu_share(file.path, options, free))

    ram_bytes = settings.chat_memory_mb * 1_000_000 or int(FREE_SHARE * free_bytes())

    def budget() -> Memory:
        gpu_bytes = settings.chat_gpu_memory_mb * 1_000_000
        return Memory(ram_bytes, gpu_bytes or int(FREE_SHARE * free_gpu_bytes()))

    return Residents(
        load,
        need_of,
        default,
        budget,
        keep_alive_s=settings.chat_unload_after_s or math.inf,
        max_queued=settings.max_queued,
    )
