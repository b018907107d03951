"""The bodies of the routes for raw prompts and tokens, as in `schemas`."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from engine_room.schemas import Body, Example, KeepAlive, List, Text
from engine_room.schemas_chat import (
    Messages,
    SamplingFields,
    Stops,
    StreamOptions,
    Timings,
    Tools,
    Usage,
)

MAX_ANSWERS = 128
MAX_TOKENS = 2_000_000  # more are a second's work to read off the wire alone
TOKEN_IDS = {"type": "array", "items": {"type": "integer"}}
TEXTS = {"type": "array", "items": {"type": "string"}}


def _prompts(value: Any) -> list[Any]:
    """The prompts of any of the four forms: a text, a list of texts, token ids, a list of those."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        raise ValueError(
            "a text, a list of texts, a list of token ids or a list of those is wanted"
        )
    if value and all(_is_token(part) for part in value):
        return [value]
    for number, part in enumerate(value):
        if not isinstance(part, str) and not (isinstance(part, list) and all(map(_is_token, part))):
            raise ValueError(f"prompt {number} is neither a text nor a list of token ids")
        if part == []:
            raise ValueError(f"prompt {number} is a list without token ids")
    return value


def _is_token(value: object) -> bool:
    return type(value) is int  # True is no token


Prompts = Annotated[
    List[Text | tuple[int, ...]],
    BeforeValidator(_prompts),
    Field(min_length=1),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                TEXTS,
                TOKEN_IDS,
                {"type": "array", "items": TOKEN_IDS},
            ]
        }
    ),
]


class CompletionRequest(SamplingFields):
    """Raw prompts to be continued: names of special tokens in them are these tokens."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "model": "mistral-7b-instruct-v0.2",
                    "prompt": "Once upon a time",
                    "max_tokens": 50,
                    "stream": False,
                }
            ]
        }
    )

    model: str = Field("", description="Chat model; see `/v1/models`. Empty: the default one.")
    prompt: Prompts = Field(
        description="A text, token ids, or a list of either. An empty text: the model begins by itself."
    )
    suffix: Text = Field("", description="Text after the gap, for models that fill in the middle.")
    max_tokens: int | None = Field(
        None,
        ge=0,
        description="Longest answer, in tokens; 16 unless said. 0: read the prompt only.",
    )
    max_new_tokens: int | None = Field(None, ge=0, description="Another name for `max_tokens`.")
    n: int = Field(1, ge=1, le=MAX_ANSWERS, description="How many answers to each prompt.")
    best_of: int | None = Field(None, description="Only the same as `n`.")
    echo: bool = Field(False, description="Begin each answer with its prompt.")
    logprobs: int | None = Field(
        None, ge=0, le=5, description="How likely each token was, and how many of the likeliest."
    )
    stop: str | Stops = Field(default_factory=list)
    keep_alive: KeepAlive = None
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    response_format: dict[str, Any] = Field(
        default_factory=dict, description="text, json_object or json_schema; always kept to."
    )
    json_schema: dict[str, Any] | None = Field(
        None, description="A JSON schema that the answer keeps to."
    )
    grammar: Text = Field("", description="A GBNF grammar that the answer keeps to.")


class TextLogprobs(Example):
    """The tokens of an answer, and where in its text each begins."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class TextChoice(Example):
    """One answer, or in a stream a part of it; the answers to prompt p begin at index p * n."""

    text: str
    index: int
    logprobs: TextLogprobs | None
    finish_reason: Literal["stop", "length"] | None


class TextCompletion(Example):
    """The whole answers, or a chunk of them (`data: [DONE]` follows the last)."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[TextChoice]
    usage: Usage | None = None
    timings: Timings | None = None


# ---------------------------------------------------------------- tokens


class TokenizeRequest(Body):
    """A text to be made tokens of: as `content` (llama-server's form), as `prompt` or `messages` (vLLM's)."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"content": "Hello, how are you?"}]})

    model: str = Field("", description="Chat model; see `/v1/models`. Empty: the default one.")
    content: Text | None = None
    prompt: Text | None = None
    messages: Messages | None = None
    add_special: bool = Field(False, description="`content`: with the tokens around a text.")
    add_special_tokens: bool = Field(True, description="`prompt`: with the tokens around a text.")
    parse_special: bool = Field(True, description="Names of special tokens are these tokens.")
    with_pieces: bool = Field(False, description="With the text of each token, or its bytes.")
    add_generation_prompt: bool = True
    continue_final_message: bool = False
    chat_template_kwargs: dict[str, Any] = Field(default_factory=dict)
    tools: Tools = Field(default_factory=list)

    @model_validator(mode="after")
    def _has_one_text(self) -> "TokenizeRequest":
        given = [part for part in (self.content, self.prompt, self.messages) if part is not None]
        if len(given) != 1:
            raise ValueError("one of content, prompt and messages is wanted, and only one")
        return self


class TokenPiece(Example):
    """A token and its text; its bytes where they are only a part of a character."""

    id: int
    piece: str | list[int]


class TokenList(Example):
    """The tokens; `max_model_len` is how many the model's context holds."""

    tokens: list[int] | list[TokenPiece]
    count: int
    max_model_len: int


class DetokenizeRequest(Body):
    """Tokens to be made text of."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"tokens": [19556, 905]}]})

    model: str = Field("", description="Chat model; see `/v1/models`. Empty: the default one.")
    tokens: List[int] = Field(max_length=MAX_TOKENS)


class DetokenizedText(Example):
    """The text, under llama-server's name and under vLLM's."""

    content: str
    prompt: str
