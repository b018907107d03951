"""The bodies of the embeddings route, as in `schemas`."""

from typing import Any, Literal

from pydantic import ConfigDict, Field

from engine_room.schemas import Body, Example, KeepAlive

MAX_INPUTS = 2048
_TOKENS = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}
_INPUT_SCHEMA: Any = {
    "anyOf": [
        {"type": "string"},
        {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": MAX_INPUTS},
        _TOKENS,
        {"type": "array", "items": _TOKENS, "minItems": 1, "maxItems": MAX_INPUTS},
    ]
}


class EmbeddingsRequest(Body):
    """Texts to be turned into vectors."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"model": "text-embedding-3-small", "input": "Hello, how are you?"}]
        }
    )

    model: str = Field(
        "", description="Embedding model; see `/v1/models?type=all`. Empty: the default one."
    )
    # Checked in embedding_format, whose messages say which of the inputs is wrong.
    input: Any = Field(
        description="A text, a list of texts, or either as ids of the model's own tokens, to which the "
        "model's begin and end tokens are added where they are not there.",
        json_schema_extra=_INPUT_SCHEMA,
    )
    encoding_format: Literal["float", "base64"] = Field(
        "float", description="base64: of little-endian float32."
    )
    dimensions: int | None = Field(
        None, ge=1, description="Cut the vectors to their first so many numbers, of length 1 again."
    )
    keep_alive: KeepAlive = None


class Embedding(Example):
    """The vector of one input, of length 1."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingsUsage(Example):
    """How many tokens went in."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(Example):
    """The vectors, in the order of the inputs. `model` is the model that really made them."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: EmbeddingsUsage
