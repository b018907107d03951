"""The engines of one server, opened and closed together. Knows no web framework."""

import time
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

from engine_room import embedding, transcription
from engine_room.catalogue import Catalogue
from engine_room.chat.loading import chat_engine
from engine_room.chat.residents import Residents
from engine_room.chat.turn import LoadTurn
from engine_room.cores import Cores
from engine_room.downloads import Downloads
from engine_room.errors import InvalidRequest, ModelBusy, Unavailable, WrongModel
from engine_room.failures import Failures
from engine_room.installed import remove, tidy_downloads
from engine_room.jobs import Answering, Engine, Failed, MemoryTurn, Status
from engine_room.metrics import Metrics
from engine_room.recordings import Recordings
from engine_room.schemas import Model
from engine_room.settings import Settings
from engine_room.sillytavern import Provider
from engine_room.speaking import Planner
from engine_room.speech import SpeechTurn, speech_engine
from engine_room.synthesis import Synthesizer
from engine_room.transcribing import Transcripts
from engine_room.voices import Voices
from engine_room.xtts import engine as xtts
from engine_room.xtts.folder import XttsFolder, xtts_folders
from engine_room.xtts.readiness import cloning_status


@dataclass(frozen=True, slots=True)
class Engines:
    """What the routes hold: the engines, and the things they look names up in."""

    settings: Settings
    catalogue: Catalogue
    voices: Voices
    recordings: Recordings
    chat: Residents
    embeddings: Engine[embedding.Asked]
    speech: Engine[SpeechTurn]
    cloning: Engine[xtts.Asked]
    transcription: Engine[transcription.Asked]
    planner: Planner
    synthesizer: Synthesizer
    metrics: Metrics
    downloads: Downloads
    provider: Provider = field(default_factory=Provider)
    transcripts: Transcripts = field(default_factory=Transcripts)
    failures: Failures = field(default_factory=Failures)

    def open(self) -> None:
        """Start the threads; each loads its model while the server already answers."""
        tidy_downloads(self.settings.models_dir)
        self.voices.open()
        self.recordings.open()
        for engine in self.all:
            engine.open()

    def close(self, finish_within_s: float = 0) -> None:
        """Refuse what waits, let what runs finish within a time, and stop the threads."""
        deadline = time.monotonic() + finish_within_s
        for engine in self.all:
            engine.refuse()
        self.downloads.close()
        for engine in self.all:
            engine.close(max(0, deadline - time.monotonic()))
        self.synthesizer.close()
        self.recordings.close()

    @property
    def all(self) -> tuple[Residents | Engine[Any], ...]:
        """The engines, in OpenAI's order."""
        return (self.chat, self.embeddings, self.speech, self.cloning, self.transcription)

    def with_status(self, models: list[Model]) -> list[Model]:
        """The models, and whether they are in memory."""
        states = {
            "chat": self.chat.states(),
            "embedding": self.embeddings.states(),
            "speech": self.speech.states() | self.cloning.states(),
            "transcription": self.transcription.states(),
        }
        return [
            model.model_copy(update={"status": states[model.type].get(model.root, "available")})
            for model in models
        ]

    def in_memory(self, name: str) -> Model:
        """The model that answers for a name, by its own id, and whether it is in memory. Raises as
        `Catalogue.find`."""
        return self.with_status([self.catalogue.find(self.catalogue.find(name).root)])[0]

    def loading(self, name: str, keep_alive_s: float | None) -> tuple[Answering[Any], Any]:
        """The engine of the model that answers for a name, and the turn that has it in memory. Raises
        WrongModel, InvalidRequest, Unavailable, and as `Catalogue.find`."""
        type_ = self.catalogue.find(name).type
        if type_ == "chat":
            return self.chat, LoadTurn(file=self.catalogue.chat(name), keep_alive_s=keep_alive_s)
        engine, model = self._of(name)
        if type_ != "embedding" and keep_alive_s is not None:
            setting = "TRANSCRIPTION" if type_ == "transcription" else "XTTS"
            raise InvalidRequest(
                f"keep_alive is for chat and embedding models; of this one the setting "
                f"{setting}_UNLOAD_AFTER_S says it.",
                param="keep_alive",
            )
        if isinstance(model, XttsFolder):
            status = cloning_status(self.settings, model)
            if status.state == "unavailable":
                raise Unavailable(status.reason or "", status.mend)
        return engine, MemoryTurn(model, keep_alive_s=keep_alive_s)

    def unload(self, name: str) -> None:
        """Free the memory of the model that answers for a name, and wait until that is done. Raises ModelBusy
        while it answers, and as `loading`."""
        if self.catalogue.find(name).type == "chat":
            self.chat.unload(self.catalogue.chat(name).id)
            return
        self._free(*self._of(name))

    def _free(self, engine: Engine[Any], model: Any) -> None:
        model_id = getattr(model, "id", None) or model.name
        if model_id not in engine.states():
            return
        if not engine.is_idle:
            raise ModelBusy(model_id)
        ended: SimpleQueue[object] = SimpleQueue()
        engine.submit(MemoryTurn(model, is_to_stay=False), ended.put)
        if isinstance(event := ended.get(), Failed):
            raise event.error

    def _of(self, name: str) -> tuple[Engine[Any], Any]:
        """The engine of a model for anything but chat, and what it knows the model by."""
        model = self.catalogue.find(name)
        if model.type == "embedding":
            return self.embeddings, self.catalogue.embedding(name)
        if model.type == "transcription":
            return self.transcription, self.catalogue.whisper.find(name).path
        folders = xtts_folders(self.settings.models_dir)
        folder = next((each for each in folders if each.id == model.root), None)
        if folder is None:
            raise WrongModel(
                name, "is always in memory", "It takes little; nothing needs to be done."
            )
        return self.cloning, folder

    def delete_model(self, model_id: str) -> str:
        """Delete a model's files, by its own id, which is given back. Raises ModelBusy while it answers, and
        as `installed.remove`."""
        return remove(model_id, self.catalogue, self.settings.models_dir, self._release).id

    def _release(self, model_id: str) -> None:
        self.chat.unload(model_id)
        for engine in (self.embeddings, self.cloning, self.transcription):
            if model_id in engine.states():
                self._free(*self._of(model_id))

    def status(self) -> dict[str, Status]:
        """How each part is."""
        cloning = self.voices.cloning_status()
        if cloning.state == "ready":
            cloning = self.cloning.status
        by_xtts = self.settings.speech_engine == "xtts"
        return {
            "chat": self.catalogue.chat_status(self.chat.status),
            "embeddings": self.catalogue.embedding_status(self.embeddings.status),
            "speech": cloning if by_xtts else self.speech.status,
            "voice_cloning": cloning,
            "transcription": self.transcription.status,
        }


def make_engines(settings: Settings) -> Engines:
    """The engines of one server, not yet open."""
    catalogue = Catalogue(settings)
    voices, recordings = Voices(settings), Recordings(settings)
    cores, metrics = Cores(), Metrics()  # one budget, and one account, for all
    speech = speech_engine(settings, cores, metrics)
    cloning = xtts.cloning_engine(settings, cores, metrics)
    engines = Engines(
        settings=settings,
        catalogue=catalogue,
        voices=voices,
        recordings=recordings,
        chat=chat_engine(settings, catalogue, cores, metrics),
        embeddings=embedding.embedding_engine(settings, cores, metrics),
        speech=speech,
        cloning=cloning,
        transcription=transcription.transcription_engine(
            settings, catalogue.whisper, cores, metrics
        ),
        planner=Planner(settings, voices, recordings),
        synthesizer=Synthesizer(speech, cloning, recordings),
        metrics=metrics,
        downloads=Downloads(settings),
    )
    metrics.watch(engines.all)
    return engines
