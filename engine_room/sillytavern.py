"""SillyTavern's own XTTS provider: what its routes take and answer, in terms of OpenAI's speech route."""

from dataclasses import dataclass
from typing import Any

from pydantic import ConfigDict, Field

from engine_room.schemas import Body, SpeechRequest, Text, Voice
from engine_room.xtts.languages import LANGUAGES


class ProviderSettings(Body):
    """What SillyTavern sets for all that follows. Of its sliders the pace is followed; temperature and the
    like are the model's own."""

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
    """The pace that was set last; the event loop's."""

    speed: float = 1.0

    def set(self, body: ProviderSettings) -> dict[str, str]:
        """Keep what was set, and say so."""
        self.speed = body.speed
        return {"message": "The speed is set; the other settings are the model's own."}

    def request(self, body: ProviderSpeech, stream: bool = False) -> SpeechRequest:
        """What to speak; wav, as SillyTavern plays it."""
        return SpeechRequest(
            input=body.text,
            voice=body.speaker_wav,
            language=body.language,
            speed=self.speed,
            response_format="wav",
            stream=stream,
        )


def speakers(voices: list[Voice]) -> list[dict[str, Any]]:
    """The voices as its menu reads them."""
    return [{"name": v.name, "voice_id": v.id, "preview_url": "", "lang": ""} for v in voices]


def languages() -> dict[str, dict[str, str]]:
    """The languages of cloned voices: names to codes."""
    return {"languages": {language.name: code for code, language in LANGUAGES.items()}}
