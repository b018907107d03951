"""The bodies of the routes that show kept speech."""

from typing import Literal

from engine_room.schemas import Example


class KeptSpeech(Example):
    """A file of speech in `audio/`. `voice` and `words`, the beginning of the text, are as its name has them:
    in other letters than the voice's own, perhaps, and without marks."""

    id: str
    object: Literal["audio.speech.kept"] = "audio.speech.kept"
    created: int
    voice: str
    words: str
    format: str
    size_bytes: int


class KeptSpeechList(Example):
    """The speech that is kept, the newest first."""

    object: Literal["list"] = "list"
    data: list[KeptSpeech]
