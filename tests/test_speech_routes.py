"""What a client may ask of speech beside plain audio: events, captions, scripts, files that are kept."""

import base64
import json
from typing import Any

import httpx
import openai
import pytest

from engine_room.decoding import decode
from engine_room.encoding import Samples
from engine_room.loudness import lufs_of
from engine_room.standard_voices import LOUDNESS_LUFS, STANDARD_VOICES
from tests.conftest import Server

TWO = "The first sentence is short. The second one is a little longer than that."


@pytest.fixture
def http(server: Server) -> Any:
    with server.http() as http:
        yield http


def spoken(http: httpx.Client, text: str, **fields: Any) -> httpx.Response:
    answer = http.post("/v1/audio/speech", json={"input": text, "cache": False, **fields})
    answer.raise_for_status()
    return answer


def samples(http: httpx.Client, text: str, **fields: Any) -> Samples:
    return decode(spoken(http, text, response_format="wav", **fields).content, 24_000).samples


def words(client: openai.OpenAI, audio: bytes) -> list[str]:
    heard = client.audio.transcriptions.create(model="whisper-1", file=("x", audio), language="en")
    return ["".join(filter(str.isalnum, word)).lower() for word in heard.text.split()]


def events(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.headers["content-type"].startswith("text/event-stream")
    *frames, done = [line for line in answer.text.splitlines() if line.startswith("data: ")]
    assert done == "data: [DONE]"
    return [json.loads(frame.removeprefix("data: ")) for frame in frames]


@pytest.mark.parametrize("name", ["mp3", "opus", "wav"])
def test_events_carry_the_file_piece_by_piece_and_the_usage(http: httpx.Client, name: str) -> None:
    *deltas, done = events(spoken(http, TWO, stream_format="sse", response_format=name))
    assert {delta["type"] for delta in deltas} == {"speech.audio.delta"}
    assert len(deltas) > 1
    sound = decode(b"".join(base64.b64decode(delta["audio"]) for delta in deltas), 24_000)
    usage = done["usage"]
    assert done["type"] == "speech.audio.done"
    assert usage["input_tokens"] == len(TWO) - 1  # the space between two sentences is not read
    assert usage["output_tokens"] * 0.0125 == pytest.approx(sound.duration_s, abs=0.2)
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


@pytest.mark.parametrize("stream", [False, True])
def test_captions_say_when_each_sentence_is_heard(http: httpx.Client, stream: bool) -> None:
    answer = spoken(http, TWO, timestamps=True, stream=stream, response_format="wav")
    if stream:
        all_events = events(answer)
        segments = [event for event in all_events if event["type"] == "speech.audio.segment"]
        audio = b"".join(base64.b64decode(event.get("audio", "")) for event in all_events)
    else:
        body = answer.json()
        segments, audio = body["segments"], base64.b64decode(body["audio"])
        assert body["format"] == "wav"
        assert body["duration"] == pytest.approx(decode(audio, 24_000).duration_s, abs=0.01)
        assert body["usage"]["input_tokens"] == len(TWO) - 1
    texts = ["The first sentence is short.", "The second one is a little longer than that."]
    assert [segment["text"] for segment in segments] == texts
    (first, second) = segments
    assert 0 <= first["start"] < first["end"] <= second["start"] < second["end"]
    assert second["end"] == pytest.approx(decode(audio, 24_000).duration_s, abs=0.3)


def test_who_reads_a_stream_gets_one_without_asking(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": "tts-1", "voice": "nova", "input": TWO}
    fresh = {"cache": False}
    with client.audio.speech.with_streaming_response.create(**asked, extra_body=fresh) as answer:
        assert answer.headers["transfer-encoding"] == "chunked"
        assert decode(answer.read(), 24_000).duration_s > 2
    whole = client.audio.speech.with_raw_response.create(**asked, extra_body=fresh)
    assert int(whole.headers["content-length"]) == len(whole.content)


def test_several_voices_speak_one_text_with_the_pauses_it_asks_for(
    http: httpx.Client, client: openai.OpenAI
) -> None:
    text = "[voice:nova] Are you at home? [pause:1.5s] [voice:onyx] I am in the garden."
    answer = spoken(http, text, voice="alloy", response_format="wav")
    expected = "are you at home i am in the garden"
    assert words(client, answer.content) == expected.split()
    without = text.replace("[pause:1.5s]", "")
    longer_s = (len(decode(answer.content, 24_000).samples) - len(samples(http, without))) / 24_000
    assert longer_s == pytest.approx(1.5 - 0.25, abs=0.15)


def test_ssml_is_obeyed_not_read(http: httpx.Client, client: openai.OpenAI) -> None:
    text = '<speak>Good <sub alias="evening">ev.</sub> to you.<break time="2s"/> Now sleep well.</speak>'
    answer = spoken(http, text, response_format="wav")
    assert words(client, answer.content) == "good evening to you now sleep well".split()
    slow = samples(http, '<prosody rate="50%">Now sleep well, my dear.</prosody>')
    assert len(slow) / len(samples(http, "Now sleep well, my dear.")) == pytest.approx(2, abs=0.3)


def test_instructions_change_pace_and_pauses_and_the_rest_is_ignored(http: httpx.Client) -> None:
    plain = len(samples(http, TWO))
    assert len(samples(http, TWO, instructions="Speak very slowly.")) > 1.2 * plain
    assert len(samples(http, TWO, instructions="with long pauses between sentences")) > plain + 4000
    assert len(samples(http, TWO, instructions="with short pauses")) < plain - 2000
    for ignored in ("None", "", "Sound like the sea at night."):
        assert len(samples(http, TWO, instructions=ignored)) == pytest.approx(plain, rel=0.05)


def test_a_lexicon_says_how_a_word_is_spoken_from_the_next_request_on(
    http: httpx.Client, client: openai.OpenAI, server: Server
) -> None:
    lexicon = server.folder / "voice_clones" / "lexicon.tsv"
    lexicon.write_text("Xyq\telephant\ten\n", "utf-8")
    try:
        assert "elephant" in words(client, spoken(http, "I saw the Xyq in the garden.").content)
    finally:
        lexicon.unlink()


def test_the_same_request_is_answered_with_the_file_that_is_kept(http: httpx.Client) -> None:
    asked = {"input": "This is to be kept for later, word by word.", "voice": "sage"}
    first = http.post("/v1/audio/speech", json=asked)
    # One more answer: by then the writer has had its turn.
    http.post("/v1/audio/speech", json={"input": "Another one, just so."})
    again = http.post("/v1/audio/speech", json=asked)
    streamed = http.post("/v1/audio/speech", json={**asked, "stream": True})
    anew = http.post("/v1/audio/speech", json={**asked, "cache": False})
    states = [answer.headers["x-cache"] for answer in (first, again, streamed, anew)]
    assert states == ["MISS", "HIT", "HIT", "MISS"]
    assert first.content == again.content == streamed.content
    assert anew.content != first.content


def test_all_voices_are_equally_loud_and_none_clips(http: httpx.Client) -> None:
    text = "It was a bright cold day in April, and the clocks were striking thirteen."
    for voice in STANDARD_VOICES:
        sound = samples(http, text, voice=voice)
        assert lufs_of(sound, 24_000) == pytest.approx(LOUDNESS_LUFS, abs=2), voice
        assert abs(sound).max() < 1


def test_the_file_has_the_rate_and_the_bits_that_are_asked_for(http: httpx.Client) -> None:
    telephone = spoken(http, TWO, response_format="pcm", sample_rate=8_000)
    assert telephone.headers["content-type"] == "audio/pcm;rate=8000;channels=1"
    small = spoken(http, TWO, sample_rate=16_000, bitrate=16_000)
    assert len(small.content) < len(spoken(http, TWO).content) / 4


@pytest.mark.parametrize(
    ("fields", "status", "param", "says"),
    [
        ({"sample_rate": 44_100, "response_format": "opus"}, 400, "sample_rate", "48000"),
        ({"bitrate": 64_000, "response_format": "wav"}, 400, "bitrate", "mp3, opus, aac"),
        ({"stream_format": "xml"}, 400, "stream_format", "audio, sse"),
        ({"input": "Hello [pause:9h] you."}, 400, "input", "9h"),
        ({"input": "[voice:Nobody There] Hello."}, 404, "voice", "Nobody There"),
        ({"input": "[pause:1s]"}, 400, "input", "nothing"),
        ({"input": "[pause:1s] ... [voice:onyx] ..."}, 400, "input", "nothing"),
        ({"sample_rate": "many"}, 400, "sample_rate", "many"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_is_wrong_is_said_before_any_sound(
    http: httpx.Client,
    fields: dict[str, Any],
    status: int,
    param: str,
    says: str,
    stream: bool,
) -> None:
    body = {"input": "Hello.", "stream": stream, **fields}
    answer = http.post("/v1/audio/speech", json=body)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert error["param"] == param
    assert says in error["message"]
