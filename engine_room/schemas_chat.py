"""The bodies of the chat routes, as in `schemas`."""

from typing import Any, Literal

from pydantic import ConfigDict, Field

from engine_room.schemas import Body, Example, Penalty, Ratio, Text


class Part(Body):
    """One part of a message's content."""

    type: str = Field("text", description="Only text (and refusal) for the models of this server.")
    text: Text = ""
    refusal: Text = ""


class Message(Body):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Text | list[Part] = ""
    name: str = ""
    tool_calls: list[dict[str, Any]] = Field(default_factory=list)
    tool_call_id: str = ""


class StreamOptions(Body):
    """What a stream carries beside the text."""

    include_usage: bool = False


class SamplingFields(Body):
    """How the next token is drawn."""

    temperature: float = Field(0.8, ge=0, le=100, allow_inf_nan=False)
    top_p: Ratio = 0.95
    top_k: int = Field(40, ge=-1, lt=2**31, description="0 or -1: all tokens.")
    min_p: Ratio = 0.05
    repeat_penalty: float = Field(1.0, gt=0, le=10, allow_inf_nan=False)
    repetition_penalty: float | None = Field(None, gt=0, le=10, allow_inf_nan=False)
    presence_penalty: Penalty = 0
    frequency_penalty: Penalty = 0
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
    messages: list[Message] = Field(min_length=1)
    max_tokens: int | None = Field(None, ge=1, description="Longest answer, in tokens.")
    max_completion_tokens: int | None = Field(None, ge=1, description="The newer name; it wins.")
    stop: str | list[str] = Field(default_factory=list)
    n: int = Field(1, ge=1, le=16, description="How many answers.")
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    response_format: dict[str, Any] = Field(
        default_factory=dict, description="text, json_object or json_schema; always kept to."
    )
    grammar: Text = Field("", description="A GBNF grammar that the answer keeps to.")
    logprobs: bool = False
    tools: list[dict[str, Any]] = Field(default_factory=list)
    tool_choice: str | dict[str, Any] = "auto"
    functions: list[dict[str, Any]] = Field(default_factory=list)
    function_call: str | dict[str, Any] = "auto"
    chat_template_kwargs: dict[str, Any] = Field(default_factory=dict)
    add_generation_prompt: bool = True
    continue_final_message: bool = False


class PromptTokensDetails(Example):
    """Tokens of the prompt that the server knew from an earlier one."""

    cached_tokens: int


class Usage(Example):
    """How many tokens went in and came out."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails


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
    """The model's message."""

    role: Literal["assistant"]
    content: str
    refusal: str | None


class Choice(Example):
    """One answer."""

    index: int
    message: AnswerMessage
    logprobs: None
    finish_reason: Literal["stop", "length"]


class ChatCompletion(Example):
    """A whole answer. `model` is the model that really gave it."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    timings: Timings


class Delta(Example):
    """What came since the last chunk."""

    role: Literal["assistant"] | None = None
    content: str | None = None


class ChunkChoice(Example):
    """One answer's part of a chunk."""

    index: int
    delta: Delta
    logprobs: None
    finish_reason: Literal["stop", "length"] | None


class ChatCompletionChunk(Example):
    """One event of a streamed answer; `data: [DONE]` follows the last."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: Usage | None = None
