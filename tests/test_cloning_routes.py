"""A voice from an uploaded clip to its speech, as users do it, on a real server with a tiny XTTS."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import openai
import pytest

from engine_room.decoding import decode
from engine_room.encoding import Sound, encode
from engine_room.folders import sha256_of
from engine_room.xtts.folder import XttsFolder
from tests.conftest import IS_REAL_XTTS, REAL_XTTS_PATIENCE_S, Server, running_server
from tests.local_hub import Repo, local_hub

pytest.importorskip("TTS", reason="voice cloning is not installed")
pytestmark = pytest.mark.slow
PATIENCE_S = REAL_XTTS_PATIENCE_S if IS_REAL_XTTS else 110


def clip(seed: int = 3) -> bytes:
    """Five seconds that a check takes for speech."""
    rng = np.random.default_rng(seed)
    syllables = np.repeat(rng.uniform(0, 1, 50) ** 2, 2400).astype(np.float32)
    tone = np.sin(np.arange(120_000) * 0.05).astype(np.float32)
    noise = rng.standard_normal(120_000, np.float32) * np.float32(0.02)
    return encode(Sound((tone + noise) * syllables * np.float32(0.3), 24_000), "mp3")


@pytest.fixture(scope="module")
def cloning(xtts_folder: XttsFolder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("cloning server")
    for name in ("audio", "voice_clones"):
        (folder / name).mkdir()
    shutil.copytree(xtts_folder.path, folder / "models" / "xtts_v2")
    with running_server(folder, "--accept-xtts-license") as server:
        with server.http() as http:
            files = [("audio_sample", ("me.mp3", clip(), "audio/mpeg"))]
            answer = http.post("/v1/audio/voices", data={"name": "Ålice"}, files=files)
            assert answer.status_code == 200, answer.text
        yield server


@pytest.fixture(scope="module")
def speaker(cloning: Server) -> Iterator[openai.OpenAI]:
    with cloning.client(timeout=PATIENCE_S) as client:
        yield client


@pytest.fixture(scope="module")
def http(cloning: Server) -> Iterator[httpx.Client]:
    with cloning.http() as http:
        http.timeout = PATIENCE_S
        yield http


def duration_s(data: bytes) -> float:
    return decode(data, 24_000).duration_s


def test_an_uploaded_voice_speaks_in_every_format(speaker: openai.OpenAI) -> None:
    for form in ("mp3", "wav", "flac", "opus", "aac"):
        speech = speaker.audio.speech.create(
            model="tts-1",
            voice="Ålice",
            input="Hello.",
            response_format=form,
        )
        assert duration_s(speech.content) > 0.1, form


def test_a_stream_begins_before_it_ends_and_has_the_whole_sound(speaker: openai.OpenAI) -> None:
    with speaker.audio.speech.with_streaming_response.create(
        model="tts-1",
        voice="alice",
        input="First there is this sentence. Then there is a second one. And a third.",
        response_format="pcm",
        extra_body={"stream": True, "language": "en-GB", "seed": 4},
    ) as answer:
        assert answer.headers["content-type"] == "audio/pcm;rate=24000;channels=1"
        blocks = list(answer.iter_bytes(1024))
    samples = np.frombuffer(b"".join(blocks), "<i2")
    assert len(samples) / 24_000 > 0.5
    assert np.abs(samples).max() > 10


def test_studio_speakers_are_voices(
    speaker: openai.OpenAI, http: httpx.Client, studio_speakers: list[str]
) -> None:
    listed = {voice["id"]: voice["type"] for voice in http.get("/v1/audio/voices").json()["data"]}
    assert listed[studio_speakers[0]] == "studio"
    assert listed["Ålice"] == "cloned"
    assert listed["nova"] == "standard"
    for voice in (studio_speakers[1], studio_speakers[1].lower()):
        speech = speaker.audio.speech.create(model="tts-1", voice=voice, input="Hello.")
        assert duration_s(speech.content) > 0.1


def test_a_map_of_the_users_own_says_who_speaks_for_nova(
    cloning: Server, speaker: openai.OpenAI, studio_speakers: list[str]
) -> None:
    own_map = cloning.folder / "voice_clones" / "studio_voices.tsv"
    own_map.write_text("nova\tNobody There\n")
    with pytest.raises(openai.NotFoundError, match=f"Nobody There.*{studio_speakers[0]}"):
        speaker.audio.speech.create(model="tts-1-hd", voice="nova", input="Hello.")
    own_map.write_text(f"nova\t{studio_speakers[0]}\n")
    speech = speaker.audio.speech.create(model="tts-1-hd", voice="nova", input="Hello.")
    assert duration_s(speech.content) > 0.1


def test_health_and_the_voices_details_say_that_it_is_ready(http: httpx.Client) -> None:
    health = http.get("/health").json()
    assert health["parts"]["voice_cloning"] == {"status": "ready", "reason": None, "mend": None}
    details = http.get("/v1/audio/voices/Ålice").json()
    assert details["ready"] is True
    assert details["engine"] == "xtts"
    models = http.get("/v1/audio/models").json()["models"]
    assert {"id": "xtts_v2", "name": "xtts_v2", "root": "xtts_v2"} in models
    assert http.get("/v1/models/xtts_v2").json()["type"] == "speech"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"language": "klingon"}, "klingon"),
        ({"input": "?!"}, "nothing in it that can be spoken"),
        ({"voice": "Bob"}, "Bob"),
        ({"speed": 9}, "speed"),
        ({"seed": "x"}, "seed"),
    ],
)
def test_what_is_wrong_is_a_clear_error(
    http: httpx.Client, fields: dict[str, object], message: str
) -> None:
    body = {"model": "tts-1", "voice": "Ålice", "input": "Hello."} | fields
    answer = http.post("/v1/audio/speech", json=body)
    assert answer.status_code in (400, 404)
    assert message in answer.json()["error"]["message"]


def test_speech_is_kept_under_the_voices_name(cloning: Server, speaker: openai.OpenAI) -> None:
    speaker.audio.speech.create(model="tts-1", voice="Ålice", input="To be kept.")
    deadline = time.monotonic() + 10  # a thread of its own writes it
    while not list((cloning.folder / "audio").glob("*_Ålice_to-be-kept_*.mp3")):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_users_model_is_as_it_was_and_converted_once(
    cloning: Server, xtts_folder: XttsFolder
) -> None:
    folder = XttsFolder(cloning.folder / "models" / "xtts_v2")
    assert sha256_of(folder.checkpoint) == sha256_of(xtts_folder.checkpoint)
    made = sorted(path.name for path in folder.converted.iterdir())
    assert made == ["gpt.gguf", "made-from.json", "vocoder.onnx"]
    assert not list(folder.path.glob(".*partial"))


def test_a_deleted_voice_is_gone_with_all_that_was_computed_of_it(
    cloning: Server, http: httpx.Client
) -> None:
    files = [("audio_sample", ("me.mp3", clip(4), "audio/mpeg"))]
    http.post("/v1/audio/voices", data={"name": "Bert"}, files=files).raise_for_status()
    body = {"model": "tts-1", "voice": "Bert", "input": "Hello."}
    computed = cloning.folder / "voice_clones" / ".conditioning"
    before = set(computed.iterdir())
    assert http.post("/v1/audio/speech", json=body).status_code == 200
    assert len(set(computed.iterdir()) - before) == 1
    http.delete("/v1/audio/voices/Bert").raise_for_status()
    assert set(computed.iterdir()) == before
    assert http.post("/v1/audio/speech", json=body).status_code == 404


@pytest.mark.skipif(IS_REAL_XTTS, reason="the real one is too large for a hub in memory")
@pytest.mark.parametrize("is_agreed", [True, False])
def test_a_cloned_voice_has_the_model_fetched_only_when_its_licence_is_agreed_to(
    xtts_folder: XttsFolder, tmp_path: Path, is_agreed: bool
) -> None:
    (tmp_path / "voice_clones").mkdir()
    (tmp_path / "voice_clones" / "me.mp3").write_bytes(clip())
    names = ("config.json", "model.pth", "vocab.json", "speakers_xtts.pth")
    files = {name: (xtts_folder.path / name).read_bytes() for name in names}
    with local_hub() as hub:
        hub.repos["coqui/XTTS-v2"] = Repo(files)
        environment = {
            "HF_ENDPOINT": hub.url,
            "FETCH_MODELS": "on_use",
            "ACCEPT_XTTS_LICENSE": str(is_agreed).lower(),
        }
        with running_server(tmp_path, environment=environment) as server, server.http() as http:
            http.timeout = PATIENCE_S
            body = {"input": "Hello.", "voice": "me", "response_format": "wav"}
            answer = http.post("/v1/audio/speech", json=body)
    if is_agreed:
        assert (answer.status_code, answer.headers["content-type"]) == (200, "audio/wav")
        assert (tmp_path / "models" / "xtts_v2" / "model.pth").is_file()
        return
    assert answer.status_code == 503
    assert "when its licence is agreed to" in answer.json()["error"]["message"]
    assert "openai_api.py xtts-license" in answer.json()["error"]["message"]
    assert hub.asked == []


def test_the_model_is_loaded_and_unloaded_by_request(http: httpx.Client) -> None:
    for path, status in (("load", "loaded"), ("unload", "available")):
        told = http.post(f"/v1/models/{path}", json={"model": "xtts_v2"}).json()
        assert (told["id"], told["status"]) == ("xtts_v2", status)


def test_sillytaverns_xtts_provider_speaks(http: httpx.Client, studio_speakers: list[str]) -> None:
    ids = [speaker["voice_id"] for speaker in http.get("/speakers").json()]
    assert {"Ålice", "nova", studio_speakers[0]} <= set(ids)
    assert http.get("/speakers_list").json() == ids
    assert http.get("/languages").json()["languages"]["German"] == "de"
    sliders = {"stream_chunk_size": 100, "temperature": 0.75, "speed": 2, "top_k": 50}
    assert http.post("/set_tts_settings", json=sliders).status_code == 200
    body = {"text": "Hello there, you.", "speaker_wav": "nova", "language": "en"}
    fast = duration_s(http.post("/tts_to_audio/", json=body).content)
    assert http.post("/set_tts_settings", json=sliders | {"speed": 1}).status_code == 200
    assert duration_s(http.post("/tts_to_audio/", json=body).content) > 1.5 * fast
    answer = http.post("/set_tts_settings", json=sliders | {"top_p": 1.5})
    assert answer.status_code == 400
    assert "top_p" in answer.json()["error"]["message"]
    assert "1.5" in answer.json()["error"]["message"]
    with http.stream("GET", "/tts_stream/", params=body | {"speaker_wav": "Ålice"}) as answer:
        assert answer.headers["content-type"] == "audio/wav"
        assert duration_s(answer.read()) > 0.1
    answer = http.post("/tts_to_audio/", json=body | {"speaker_wav": "Bob"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "voice_not_found")
