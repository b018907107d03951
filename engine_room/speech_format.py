"""How speech is answered beside plain audio: server-sent events in OpenAI's words, and JSON with captions."""

from base64 import b64encode
from collections.abc import Iterable, Sequence

from engine_room.spoken import Caption, Spoken


class SpeechFrames:
    """The objects of an event stream: `speech.audio.delta` for each block of bytes, a segment for each
    Caption, `speech.audio.done` at the end."""

    def opening(self) -> Iterable[object]:
        """Nothing goes before the sound."""
        return ()

    def item(self, item: bytes | Caption) -> Iterable[object]:
        """See the class."""
        if isinstance(item, Caption):
            yield {"type": "speech.audio.segment", **_segment(item)}
        else:
            yield {"type": "speech.audio.delta", "audio": b64encode(item).decode()}

    def closing(self, result: Spoken) -> Iterable[object]:
        """What it took."""
        yield {"type": "speech.audio.done", "usage": _usage(result)}


def captioned(items: Sequence[bytes | Caption], spoken: Spoken, format_name: str) -> object:
    """A whole answer with its captions as a JSON object."""
    audio = b"".join(item for item in items if isinstance(item, bytes))
    return {
        "audio": b64encode(audio).decode(),
        "format": format_name,
        "duration": round(spoken.duration_s, 3),
        "segments": [_segment(item) for item in items if isinstance(item, Caption)],
        "usage": _usage(spoken),
    }


def _segment(caption: Caption) -> dict[str, object]:
    start, end = round(caption.start_s, 3), round(caption.end_s, 3)
    return {"text": caption.text, "start": start, "end": end}


def _usage(spoken: Spoken) -> dict[str, int]:
    read, said = spoken.num_text_tokens, spoken.num_audio_tokens
    return {"input_tokens": read, "output_tokens": said, "total_tokens": read + said}
