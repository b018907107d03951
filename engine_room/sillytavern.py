"""SillyTavern's own XTTS provider: what its routes take and answer, in terms of OpenAI's speech route."""

from dataclasses import dataclass, field
from typing import Any

from pydantic import ConfigDict, Field

from engine_room.schemas import Body, SpeechRequest, SpeechSampling, Text, Voice
from engine_room.xtts.languages import LANGUAGES

# What becomes of its sliders; the last three are the library's, for what is done otherwise here.
FOLLOWED = (
    "From now on speed is followed, and by cloned voices and studio speakers temperature, top_k, top_p and "
    "repetition_penalty. length_penalty, stream_chunk_size and enable_text_splitting have no effect: there "
    "is no beam search, a stream's pieces find their own size, and long texts are always split."
)


class ProviderSettings(SpeechSampling):
    """What SillyTavern sets for all that follows."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"speed": 1.0, "temperature": 0.75}]})

    speed: float = Field(1.0, ge=0.25, le=4, allow_inf_nan=False)


class ProviderSpeech(Body):
    """A text, and the id of a voice as `speaker_wav`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"text": "Hello.", "speaker_wav": "nova", "language": "en"}]
        }
    )

    text: Text
    speaker_wav: str
    language: str = ""


@dataclass(slots=True)
class Provider:
    """What was set last, until the server stops; the event loop's."""

    settings: ProviderSettings = field(default_factory=ProviderSettings)

    def set(self, settings: ProviderSettings) -> dict[str, str]:
        """Keep what was set, and say what of it has an effect."""
        self.settings = settings
        return {"message": FOLLOWED}

    def request(self, body: ProviderSpeech, stream: bool = False) -> SpeechRequest:
        """What to speak; wav, as SillyTavern plays it."""
        return SpeechRequest(
            input=body.text,
            voice=body.speaker_wav,
            language=body.language,
            **self.settings.model_dump(),
            response_format="wav",
            stream=stream,
        )


def speakers(voices: list[Voice]) -> list[dict[str, Any]]:
    """The voices as its menu reads them."""
    return [{"name": v.name, "voice_id": v.id, "preview_url": "", "lang": ""} for v in voices]


def languages() -> dict[str, dict[str, str]]:
    """The languages of cloned voices: names to codes."""
    return {"languages": {language.name: code for code, language in LANGUAGES.items()}}
