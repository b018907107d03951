"""Speech as events and as JSON has OpenAI's words, and captions in seconds."""

from engine_room.speech_format import SpeechFrames, captioned
from engine_room.spoken import Caption, Spoken

SPOKEN = Spoken(duration_s=1.23456, num_text_tokens=7, num_audio_tokens=30)
CAPTION = Caption("Hello.", 0.12345, 1.0)
USAGE = {"input_tokens": 7, "output_tokens": 30, "total_tokens": 37}


def test_events_carry_the_sound_the_captions_and_the_usage() -> None:
    frames = SpeechFrames()
    assert list(frames.opening()) == []
    assert list(frames.item(b"\x00\xff")) == [{"type": "speech.audio.delta", "audio": "AP8="}]
    assert list(frames.item(CAPTION)) == [
        {"type": "speech.audio.segment", "text": "Hello.", "start": 0.123, "end": 1.0}
    ]
    assert list(frames.closing(SPOKEN)) == [{"type": "speech.audio.done", "usage": USAGE}]


def test_json_has_the_whole_file_and_all_captions() -> None:
    assert captioned([b"\x00", CAPTION, b"\xff"], SPOKEN, "wav") == {
        "audio": "AP8=",
        "format": "wav",
        "duration": 1.235,
        "segments": [{"text": "Hello.", "start": 0.123, "end": 1.0}],
        "usage": USAGE,
    }
