"""The bodies of the routes that fetch and remove models."""

from typing import Literal

from pydantic import ConfigDict, Field

from engine_room.offers import OfferKind
from engine_room.schemas import Body, Example, KeepAlive, Text


class DownloadRequest(Body):
    """A model to be fetched."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"model": "qwen3-8b", "stream": True}]}
    )

    model: Text = Field(
        min_length=1,
        max_length=2000,
        description="A name of the catalogue, `owner/name`, `owner/name:file`, or an address.",
    )
    stream: bool = Field(False, description="Tell the progress as server-sent events, to the end.")
    accept_license: bool = Field(
        False,
        description="You agree to the licence of a model that asks for it (`terms` in /v1/models/offers).",
    )


class Download(Example):
    """A download: how far it is, and at the end `done`, `stopped` or `failed` (with the reason)."""

    id: str
    object: Literal["model.download"] = "model.download"
    model: str
    status: Literal["starting", "running", "done", "stopped", "failed"] = "starting"
    root: str | None = None
    completed_bytes: int = 0
    total_bytes: int = 0
    bytes_per_s: int = 0
    seconds_left: float | None = None
    error: str | None = None
    created: int


class DownloadList(Example):
    """The downloads that are running, and those that ended since the server's start."""

    object: Literal["list"] = "list"
    data: list[Download]


class OfferedModel(Example):
    """A model that can be fetched by its id. Sizes are estimates; `memory` is the sum in words, `terms` what
    the licence says in short where it has to be agreed to first."""

    id: str
    object: Literal["model.offer"] = "model.offer"
    kind: OfferKind
    size_bytes: int
    memory_bytes: int
    fits: bool
    memory: str
    context: int
    licence: str
    good_at: str
    terms: str


class InstalledModel(Example):
    """A model that lies here, with the size of all its files; `bundled` if it came with the install."""

    id: str
    kind: OfferKind
    size_bytes: int
    bundled: bool


class OfferList(Example):
    """The models that can be fetched, those that are here, the memory that a model may take now, and the
    best chat model that fits it."""

    object: Literal["list"] = "list"
    data: list[OfferedModel]
    here: list[InstalledModel]
    free_bytes: int
    best: str | None


class LoadRequest(Body):
    """A model to be had in memory before it is asked for."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"model": "gpt-4"}]})

    model: Text = Field(
        "",
        description="Model for chat, embeddings, transcription or cloned voices; see `/v1/models?type=all`. "
        "Empty: the default one for chat.",
    )
    keep_alive: KeepAlive = None


class UnloadRequest(Body):
    """A model whose memory is to be freed."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"model": "gpt-4"}]})

    model: Text = Field(
        "",
        description="Model for chat, embeddings, transcription or cloned voices; see `/v1/models?type=all`. "
        "Empty: the default one for chat.",
    )


class ModelDeleted(Example):
    """A model that is no more."""

    id: str
    object: Literal["model"] = "model"
    deleted: Literal[True] = True
