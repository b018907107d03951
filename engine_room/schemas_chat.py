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
    function_call: dict[str, Any] = Field(default_factory=dict, description="The older form.")
    reasoning_content: Text = ""


class StreamOptions(Body):
    """What a stream carries beside the text."""

    include_usage: bool = False


class ChatRequest(Body):
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
    tool_choice: str | dict[str, Any] = Field(
        "auto", description="none, auto, required, a function, or allowed_tools; always kept to."
    )
    parallel_tool_calls: bool = Field(True, description="Whether one answer may call several.")
    functions: list[dict[str, Any]] = Field(default_factory=list, description="Older: tools.")
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


class AnswerMessage(Example):
    """The model's message; what it has none of is left out."""

    role: Literal["assistant"]
    content: str | None
    refusal: str | None
    reasoning_content: str = Field("", description="What the model thought before.")
    tool_calls: list[MessageToolCall] = Field(default_factory=list)
    function_call: CalledFunction | None = Field(None, description="For requests with functions.")


FinishReason = Literal["stop", "length", "tool_calls", "function_call"]


class Choice(Example):
    """One answer."""

    index: int
    message: AnswerMessage
    logprobs: None
    finish_reason: FinishReason


class ChatCompletion(Example):
    """A whole answer. `model` is the model that really gave it."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: Usage


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
    logprobs: None
    finish_reason: FinishReason | None


class ChatCompletionChunk(Example):
    """One event of a streamed answer; `data: [DONE]` follows the last."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: Usage | None = None
