"""An embeddings request to a turn, and vectors to OpenAI's answer. Knows no model."""

import base64
import json
from typing import Any

from engine_room.catalogue import EmbeddingFile
from engine_room.embedding_turn import EmbeddingResult, EmbeddingTurn, Input, Vectors, place
from engine_room.errors import InvalidRequest, quoted
from engine_room.schemas_embeddings import MAX_INPUTS, EmbeddingsRequest

MAX_TOKEN_ID = 2**31 - 1


def embeddings_turn(body: EmbeddingsRequest, file: EmbeddingFile) -> EmbeddingTurn:
    """What the engine is asked. Raises InvalidRequest, which names the first input that is wrong."""
    inputs = _inputs(body.input)
    for index, each in enumerate(inputs):
        _check(each, place(index, len(inputs)))
    return EmbeddingTurn(file, inputs, body.dimensions, body.encoding_format, body.keep_alive)


def _inputs(value: Any) -> list[Input]:
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        raise _wrong("input", "a text, a list of texts, or token ids are required", value)
    if not value:
        raise InvalidRequest("input: the list is empty; give one text at least.", param="input")
    if _is_number(value[0]):  # one input, as token ids
        return [value]
    if len(value) > MAX_INPUTS:
        raise InvalidRequest(
            f"input: {len(value):,} inputs are given; at most {MAX_INPUTS:,} are taken at once.",
            param="input",
        )
    return value


def _check(each: Any, where: str) -> None:
    if isinstance(each, str):
        try:
            each.encode()
        except UnicodeEncodeError as error:
            raise _wrong(
                where, f"character {error.start} is half of a surrogate pair", each
            ) from error
    elif not isinstance(each, list):
        raise _wrong(where, "a text or a list of token ids is required", each)
    if not each:
        raise InvalidRequest(f"{where}: it is empty, and has no embedding.", param=where)
    if isinstance(each, list) and not _are_token_ids(each):
        first = next(token for token in each if not _are_token_ids([token]))
        raise _wrong(where, "token ids are whole numbers from 0", first)


def _are_token_ids(ids: list[Any]) -> bool:
    """Whether they are; without a step of Python for each, of which a request may have millions."""
    return set(map(type, ids)) == {int} and min(ids) >= 0 and max(ids) <= MAX_TOKEN_ID


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _wrong(where: str, message: str, value: Any) -> InvalidRequest:
    return InvalidRequest(f"{where}: {message} (got {quoted(value)}).", param=where)


def embeddings_body(turn: EmbeddingTurn, result: EmbeddingResult) -> bytes:
    """The body of the answer. Takes a second for the largest: call it off the event loop."""
    # One vector at a time: to dump all of them at once would keep every other thread from running.
    data = ",".join(
        json.dumps({"object": "embedding", "index": index, "embedding": embedding})
        for index, embedding in enumerate(_encoded(turn.encoding_format, result.vectors))
    )
    usage = {"prompt_tokens": result.num_tokens, "total_tokens": result.num_tokens}
    rest = json.dumps({"model": turn.file.id, "usage": usage})
    return f'{{"object": "list", "data": [{data}], {rest[1:]}'.encode()


def _encoded(encoding_format: str, vectors: Vectors) -> Any:
    """Each vector as a list of numbers, or as base64 of its little-endian float32."""
    if encoding_format == "float":
        return (vector.tolist() for vector in vectors)
    return (base64.b64encode(vector.astype("<f4").tobytes()).decode() for vector in vectors)
