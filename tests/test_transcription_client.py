"""What the official client asks of transcriptions, against the running server with the bundled model."""

import io

import httpx
import openai
import pytest

from engine_room.encoding import Sound, encode
from engine_room.transcription_whisper import RATE_HZ
from tests.conftest import Server
from tests.test_openai_client import words
from tests.test_transcription_whisper import noise

SAID = "The train to the old harbour leaves in the morning. A second one leaves at noon."


@pytest.fixture(scope="module")
def speech(server: Server) -> bytes:
    """Two sentences, by the server's own voice."""
    with server.http() as http:
        body = {"input": SAID, "voice": "nova", "response_format": "wav"}
        return http.post("/v1/audio/speech", json=body).content


def test_a_stream_brings_the_text_in_deltas_and_whole_at_its_end(
    client: openai.OpenAI, speech: bytes
) -> None:
    events = list(
        client.audio.transcriptions.create(
            model="gpt-4o-mini-transcribe",
            file=("x.wav", speech),
            stream=True,
            include=["logprobs"],
            chunking_strategy={"type": "server_vad", "silence_duration_ms": 500},
        )
    )
    *deltas, done = events
    assert done.type == "transcript.text.done"
    assert words(done.text) == words(SAID)
    assert "".join(getattr(event, "delta", "") for event in deltas) == done.text
    assert done.logprobs
    tokens = "".join(logprob.token or "" for logprob in done.logprobs)
    assert words(tokens) == words(SAID)
    assert all(logprob.logprob is not None and logprob.logprob <= 0 for logprob in done.logprobs)


@pytest.mark.parametrize("form", ["srt", "verbose_json"])
def test_a_stream_of_subtitles_is_told_whole(server: Server, speech: bytes, form: str) -> None:
    with server.http() as http:
        answer = http.post(
            "/v1/audio/transcriptions",
            data={"stream": "true", "response_format": form},
            files={"file": ("x", speech)},
        )
    assert not answer.headers["content-type"].startswith("text/event-stream")
    assert "train" in answer.text


def test_a_stream_that_fails_at_once_is_an_honest_error(server: Server) -> None:
    with server.http() as http:
        answer = http.post(
            "/v1/audio/transcriptions", data={"stream": "true"}, files={"file": ("x", b"no sound")}
        )
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_audio"


# The client calls the whole route old.
@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
def test_a_translation_is_in_english(client: openai.OpenAI, speech: bytes) -> None:
    assert "train" in client.audio.translations.create(model="whisper-1", file=("x", speech)).text
    verbose = client.audio.translations.create(
        model="whisper-1", file=("x", speech), response_format="verbose_json"
    )
    assert "train" in verbose.text
    assert verbose.segments


@pytest.mark.parametrize(
    "fields",
    [
        {"language": "English"},
        {"languages[]": ["de", "en"]},
        {"keywords[]": ["train", "harbour"]},
        {"keywords": "train"},
        {"hotwords": "train"},
        {"chunking_strategy": "auto"},
        {"chunking_strategy": '{"type":"server_vad","threshold":0.4}'},
        {"chunking_strategy[type]": "server_vad", "chunking_strategy[prefix_padding_ms]": "100"},
        {"include": "logprobs", "include[]": "other"},
        {"timestamp_granularities[]": ["word", "segment"]},
        {"timestamp_granularities": ["word"]},
        {"known_speaker_names[]": ["a"], "x[": "1", "x[a": "1", "stream": "false"},
        {"x": "1", "x[]": "2", "y[a]": "1", "y[]": "2", "[x]": "1", "[]": "2"},
        {"prompt": "trains and ships " * 500, "hotwords": "train, harbour, " * 500},
    ],
)
def test_fields_come_in_every_spelling_that_forms_have(
    server: Server, speech: bytes, fields: dict[str, str | list[str]]
) -> None:
    with server.http() as http:
        answer = http.post("/v1/audio/transcriptions", data=fields, files={"file": ("x", speech)})
    assert answer.status_code == 200, answer.text
    assert "train" in answer.json()["text"]
    assert answer.json()["languages"] == [{"code": "en"}]


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"response_format": "diarized_json"}, 400, "response_format"),
        ({"model": "small"}, 404, "model"),
        ({"model": "gpt-4"}, 404, "model"),
        ({"language": "klingon"}, 400, "language"),
        ({"chunking_strategy": "sometimes"}, 400, "chunking_strategy"),
        ({"chunking_strategy": "{"}, 400, "chunking_strategy"),
        ({"chunking_strategy[threshold]": "2"}, 400, "chunking_strategy.threshold"),
        ({"chunking_strategy[type]": "semantic_vad"}, 400, "chunking_strategy.type"),
        ({"chunking_strategy[type]": "server_vad", "chunking_strategy": "auto "}, 400, None),
        ({"temperature": "warm"}, 400, "temperature"),
        ({"language": "en", "language[]": "de"}, 400, "language"),
        ({"languages[x]": "en", "languages": "de"}, 400, "languages"),
        ({"timestamp_granularities[]": "page"}, 400, "timestamp_granularities.0"),
    ],
)
def test_what_cannot_be_done_is_an_error_that_names_the_field(
    server: Server, speech: bytes, fields: dict[str, str], status: int, param: str | None
) -> None:
    with server.http() as http:
        answer = http.post("/v1/audio/transcriptions", data=fields, files={"file": ("x", speech)})
    assert answer.status_code == status, answer.text
    assert param is None or str(answer.json()["error"]["param"]).startswith(param)


def test_a_file_sent_as_text_is_told_what_it_lacks(server: Server, speech: bytes) -> None:
    with server.http() as http:
        answer = http.post("/v1/audio/transcriptions", files={"file": (None, speech)})
    assert answer.status_code == 400
    assert "filename" in answer.json()["error"]["message"]


@pytest.mark.parametrize("form", ["json", "text", "verbose_json"])
def test_noise_is_no_text_in_any_format(server: Server, form: str) -> None:
    hiss = encode(Sound(noise(3, 0.1), RATE_HZ), "mp3")
    with server.http() as http:
        answer = http.post(
            "/v1/audio/transcriptions",
            data={"response_format": form},
            files={"file": ("x", io.BytesIO(hiss))},
        )
    assert answer.status_code == 200
    assert (answer.text if form == "text" else answer.json()["text"]).strip() == ""


def test_a_stream_of_silence_ends_with_no_text(server: Server) -> None:
    silence = encode(Sound(noise(2, 0), RATE_HZ), "wav")
    with server.http() as http:
        answer: httpx.Response = http.post(
            "/v1/audio/transcriptions", data={"stream": "1"}, files={"file": ("x", silence)}
        )
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert '"type":"transcript.text.done","text":"","languages":[]' in answer.text
    assert "delta" not in answer.text
