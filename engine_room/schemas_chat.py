"""The bodies of the chat routes, as in `schemas`."""

import contextlib
import json
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
)

from engine_room.errors import quoted
from engine_room.schemas import (
    Body,
    Example,
    InputAudio,
    KeepAlive,
    List,
    Penalty,
    Ratio,
    Text,
)

MAX_BIASES = MAX_STOPS = 1024  # each costs time at each token
MAX_MESSAGES = 20_000  # read in a quarter of a second, in which no other answer is sent
MAX_TOOLS = 1024  # OpenAI takes 128; each costs a millisecond to check
INT32_MAX = 2**31 - 1


class ImageUrl(Body):
    """Where an image is."""

    url: Text = Field(
        "", description="`data:image/png;base64,…`; http(s) with the setting IMAGE_URLS."
    )
    detail: str = Field("auto", description="Without effect: a model has its own way to see.")


class Part(Body):
    """One part of a message's content."""

    type: str = Field("text", description="text, image_url, input_audio (or refusal).")
    text: Text = ""
    refusal: Text = ""
    image_url: ImageUrl | Text = ""
    input_audio: InputAudio | None = Field(None, description="Transcribed: the model reads it.")


class Message(Body):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Text | List[Part] = ""
    name: str = ""
    tool_calls: List[dict[str, Any]] = Field(default_factory=list)
    tool_call_id: str = ""
    function_call: dict[str, Any] = Field(default_factory=dict, description="The older form.")
    reasoning_content: Text = ""


class StreamOptions(Body):
    """What a stream carries beside the text."""

    include_usage: bool = False


def _biases(value: Any) -> list[tuple[int, float]]:
    """OpenAI's `{"token id": bias}` or llama-server's `[[token id, bias]]` as pairs."""
    pairs = list(value.items()) if isinstance(value, dict) else value
    if not isinstance(pairs, list):
        raise ValueError("it must be an object of token ids and biases")
    if len(pairs) > MAX_BIASES:
        raise ValueError(f"it has {len(pairs):,} entries; at most {MAX_BIASES:,} are taken")
    return [_bias(pair) for pair in pairs]


def _bias(pair: Any) -> tuple[int, float]:
    match pair:
        case [token, int() | float() as bias] if not isinstance(bias, bool):
            if str(token).isdecimal() and int(token) <= INT32_MAX and -100 <= bias <= 100:
                return int(token), float(bias)
    pair = list(pair) if isinstance(pair, tuple) else pair
    raise ValueError(f"{quoted(pair)} is not a token id and a number from -100 to 100")


def _listed(value: Any) -> Any:
    """SillyTavern sends the list as JSON in a string."""
    if not isinstance(value, str):
        return value
    with contextlib.suppress(ValueError):
        return json.loads(value)
    return value


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("it holds a NUL character")
    return text


LogitBias = Annotated[
    list[tuple[int, float]],
    BeforeValidator(_biases),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": "number"}}),
]
# llama.cpp looks at the first 40 characters only.
Breaker = Annotated[Text, AfterValidator(_without_nul), Field(min_length=1, max_length=40)]
Breakers = Annotated[List[Breaker], BeforeValidator(_listed), Field(max_length=32)]
Stops = Annotated[List[str], Field(max_length=MAX_STOPS)]
Messages = Annotated[List[Message], Field(min_length=1, max_length=MAX_MESSAGES)]
Tools = Annotated[List[dict[str, Any]], Field(max_length=MAX_TOOLS)]
RepeatPenalty = Annotated[float, Field(ge=0.01, le=10, allow_inf_nan=False)]


class SamplingFields(Body):
    """How the next token is drawn: OpenAI's fields and, with its defaults, those of llama-server."""

    temperature: float = Field(0.8, ge=0, le=100, allow_inf_nan=False, description="0: greedy.")
    top_p: Ratio = 0.95
    top_k: int = Field(40, ge=-1, le=INT32_MAX, description="0 or -1: all tokens.")
    min_p: Ratio = 0.05
    typical_p: Ratio = Field(1.0, validation_alias=AliasChoices("typical_p", "typical"))
    top_n_sigma: float = Field(
        -1.0, ge=-1, le=1000, allow_inf_nan=False, description="0 or -1: all tokens."
    )
    repeat_penalty: RepeatPenalty = 1.0
    repetition_penalty: RepeatPenalty | None = Field(None, description="Another name; it wins.")
    repeat_last_n: int = Field(
        64, ge=-1, le=INT32_MAX, description="Tokens that penalties look back; -1: all."
    )
    presence_penalty: Penalty = 0
    frequency_penalty: Penalty = 0
    dry_multiplier: float = Field(0.0, ge=0, le=100, allow_inf_nan=False, description="0: off.")
    dry_base: float = Field(1.75, ge=1, le=100, allow_inf_nan=False)
    dry_allowed_length: int = Field(2, ge=0, le=INT32_MAX)
    dry_penalty_last_n: int = Field(
        -1, ge=-1, le=INT32_MAX, description="Tokens that DRY looks back; -1: all."
    )
    dry_sequence_breakers: Breakers = Field(["\n", ":", '"', "*"])
    xtc_probability: Ratio = 0
    xtc_threshold: Ratio = 0.1
    mirostat: Literal[0, 1, 2] = Field(
        0, description="1 or 2: in place of all the others but temperature and logit_bias."
    )
    mirostat_tau: float = Field(5.0, ge=0, le=100, allow_inf_nan=False)
    mirostat_eta: float = Field(0.1, ge=0, le=10, allow_inf_nan=False)
    logit_bias: LogitBias = Field(
        default_factory=list,
        description="`{token id: bias}`, or a list of pairs; -100 bans a token, 100 forces it.",
    )
    seed: int = Field(
        -1,
        description="The same request alone gives the same text (and is not cached); negative: random.",
    )


class ChatRequest(SamplingFields):
    """A conversation to be continued."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "model": "mistral-7b-instruct-v0.2",
                    "messages": [{"role": "user", "content": "Hello, how are you?"}],
                    "temperature": 0.7,
                    "max_tokens": 100,
                    "stream": False,
                }
            ]
        }
    )

    model: str = Field("", description="Chat model; see `/v1/models`. Empty: the default one.")
    messages: Messages
    max_tokens: int | None = Field(None, ge=1, description="Longest answer, in tokens.")
    max_completion_tokens: int | None = Field(None, ge=1, description="The newer name; it wins.")
    stop: str | Stops = Field(default_factory=list)
    n: int = Field(1, ge=1, le=16, description="How many answers.")
    keep_alive: KeepAlive = None
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    response_format: dict[str, Any] = Field(
        default_factory=dict, description="text, json_object or json_schema; always kept to."
    )
    grammar: Text = Field("", description="A GBNF grammar that the answer keeps to.")
    logprobs: bool = Field(False, description="How likely each token of the answer was.")
    top_logprobs: int = Field(
        0, ge=0, le=20, description="With `logprobs`: how many of the likeliest at each place."
    )
    tools: Tools = Field(default_factory=list)
    tool_choice: str | dict[str, Any] = Field(
        "auto", description="none, auto, required, a function, or allowed_tools; always kept to."
    )
    parallel_tool_calls: bool = Field(True, description="Whether one answer may call several.")
    functions: Tools = Field(default_factory=list, description="Older: tools.")
    function_call: str | dict[str, Any] = Field("auto", description="Older: tool_choice.")
    reasoning_effort: str = Field(
        "", description="For models that think; `none` keeps them from it."
    )
    enable_thinking: bool | None = Field(None, description="Whether such a model thinks first.")
    chat_template_kwargs: dict[str, Any] = Field(default_factory=dict)
    add_generation_prompt: bool = True
    continue_final_message: bool = False


class PromptTokensDetails(Example):
    """Tokens of the prompt that the server knew from an earlier one."""

    cached_tokens: int


class CompletionTokensDetails(Example):
    """Tokens of the answer that were thoughts."""

    reasoning_tokens: int


class Usage(Example):
    """How many tokens went in and came out."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails
    completion_tokens_details: CompletionTokensDetails


class CalledFunction(Example):
    """What is called; the arguments are a JSON object as text."""

    name: str
    arguments: str


class MessageToolCall(Example):
    """One call."""

    id: str
    type: Literal["function"]
    function: CalledFunction


class Timings(Example):
    """What the tokens took: of the prompt (`cache_n` more were known), and of the answers (`predicted`)."""

    cache_n: int
    prompt_n: int
    prompt_ms: float
    prompt_per_token_ms: float
    prompt_per_second: float
    predicted_n: int
    predicted_ms: float
    predicted_per_token_ms: float
    predicted_per_second: float


class AnswerMessage(Example):
    """The model's message; what it has none of is left out."""

    role: Literal["assistant"]
    content: str | None
    refusal: str | None
    reasoning_content: str = Field("", description="What the model thought before.")
    tool_calls: list[MessageToolCall] = Field(default_factory=list)
    function_call: CalledFunction | None = Field(None, description="For requests with functions.")


FinishReason = Literal["stop", "length", "tool_calls", "function_call"]


class TopLogprob(Example):
    """A token that might have stood at a place, and the logarithm of its probability."""

    token: str
    logprob: float
    bytes: list[int] | None


class AnswerTokenLogprob(TopLogprob):
    """A token of the answer, and the likeliest at its place."""

    top_logprobs: list[TopLogprob]


class ChoiceLogprobs(Example):
    """The tokens of an answer, or of a chunk of it."""

    content: list[AnswerTokenLogprob]
    refusal: None


class Choice(Example):
    """One answer."""

    index: int
    message: AnswerMessage
    logprobs: ChoiceLogprobs | None
    finish_reason: FinishReason


class ChatCompletion(Example):
    """A whole answer. `model` is the model that really gave it."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    timings: Timings


class DeltaFunction(Example):
    """The name once, then pieces of the arguments."""

    name: str | None = None
    arguments: str


class DeltaToolCall(Example):
    """A part of the call with this number; id and type come once."""

    index: int
    id: str | None = None
    type: Literal["function"] | None = None
    function: DeltaFunction


class Delta(Example):
    """What came since the last chunk."""

    role: Literal["assistant"] | None = None
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[DeltaToolCall] | None = None
    function_call: DeltaFunction | None = None


class ChunkChoice(Example):
    """One answer's part of a chunk."""

    index: int
    delta: Delta
    logprobs: ChoiceLogprobs | None
    finish_reason: FinishReason | None


class ChatCompletionChunk(Example):
    """One event of a streamed answer; `data: [DONE]` follows the last."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: Usage | None = None
