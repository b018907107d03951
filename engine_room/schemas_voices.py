"""The bodies of the routes that make, show and delete a voice."""

from typing import Any, Literal

from pydantic import Field, field_validator

from engine_room.schemas import Body, Example, PartStatus, Text, Voice


class NewVoiceRequest(Body):
    """A new voice: the fields beside the clips."""

    name: str = Field(description="Name of the new voice; it is its id too.")
    type: Literal["audio_sample"] = Field(
        "audio_sample", description="How the voice is made: from recordings."
    )
    consent: Text = Field("", description="Kept with the voice; nothing is checked.")
    language: str = Field("", description="Language spoken in the clips, as `de` or `pt-BR`.")
    description: Text = Field(
        "", max_length=1000, description="A few words for the list of voices."
    )

    @field_validator("language")
    @classmethod
    def _is_a_code(cls, value: str) -> str:
        parts = value.replace("_", "-").split("-")
        is_code = parts[0].isascii() and parts[0].isalpha() and 2 <= len(parts[0]) <= 3
        if value and not (is_code and all(0 < len(p) <= 8 and p.isalnum() for p in parts[1:])):
            raise ValueError("not a language code such as de, en-US or zh-cn")
        return value.replace("_", "-")


def new_voice_body() -> dict[str, Any]:
    """The request body of the route that makes a voice, for `/openapi.json`."""
    fields = NewVoiceRequest.model_json_schema()["properties"]
    file = {"type": "string", "format": "binary"}
    sample = {
        "description": "One recording of the voice in any format, or several.",
        "anyOf": [file, {"type": "array", "items": file}],
    }
    schema = {
        "type": "object",
        "required": ["name", "audio_sample"],
        "properties": {"audio_sample": sample} | fields,
    }
    return {
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}
    }


class VoiceFinding(Example):
    """One thing about a clip or a voice. With a `problem` it cannot speak well or at all, a `warning` is
    heard in what it says, `advice` would make it better."""

    code: str
    kind: Literal["problem", "warning", "advice"]
    message: str


class VoiceClip(Example):
    """One recording of a cloned voice."""

    name: str
    duration_s: float | None = None
    speech_s: float | None = None
    findings: list[VoiceFinding] = Field(default_factory=list)


class VoiceDetails(Voice):
    """One voice with all there is to know of it. `type` is `audio_sample`, as OpenAI has it, in the answer
    to its making, and `cloned` or `standard`, as in the list, ever after."""

    type: Literal["standard", "cloned", "studio", "audio_sample"]  # type: ignore[assignment]
    engine: Literal["hibari", "xtts"]
    ready: bool
    engine_status: PartStatus
    languages: list[str]
    language: str = ""
    duration_s: float | None = None
    speech_s: float | None = None
    findings: list[VoiceFinding] = Field(default_factory=list)
    clips: list[VoiceClip] = Field(default_factory=list)
    preview_url: str | None = None


class VoiceDeleted(Example):
    """A voice that is no more."""

    object: Literal["audio.voice.deleted"] = "audio.voice.deleted"
    id: str
    deleted: Literal[True] = True
