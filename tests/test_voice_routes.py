"""A voice is added, looked at, listened to and deleted by the real server, as people's clients do it."""

import io
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from engine_room.decoding import decode
from tests.conftest import Server, running_server
from tests.test_bad_input import checked
from tests.test_clips import silence, speech, wav

VOICES = "/v1/audio/voices"
STORY = (
    "My grandmother kept bees behind the house. Every morning she walked down to the hives with a "
    "cup of tea and told them the news. They never answered, but she said they listened."
)
GOOD = wav(speech(8))


@pytest.fixture(scope="module")
def clip(client: openai.OpenAI) -> bytes:
    """Ten seconds of speech as mp3."""
    return client.audio.speech.create(model="tts-1", voice="nova", input=STORY).content


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    """A client; what it leaves in the folder of voices goes away with it."""
    with server.http() as http:
        yield http
        for voice in http.get(VOICES).json()["voices"]:
            if voice["type"] == "cloned":
                http.delete(f"{VOICES}/{voice['id']}")


def ids(http: httpx.Client) -> list[str]:
    return [voice["id"] for voice in http.get(VOICES).json()["voices"]]


def add(http: httpx.Client, name: object, *clips: bytes, **fields: str) -> httpx.Response:
    files = [("audio_sample", (f"{at}.wav", data)) for at, data in enumerate(clips)]
    return http.post(VOICES, data={"name": name, **fields}, files=files)


def test_the_official_client_adds_a_voice_and_deletes_it(
    client: openai.OpenAI, http: httpx.Client, server: Server, clip: bytes
) -> None:
    voice = client.audio.voices.create(
        name="Grandma 🐝 Größe", audio_sample=("bees.mp3", clip, "audio/mpeg"), consent="cons_1"
    )
    assert (voice.object, voice.type) == ("audio.voice", "audio_sample")
    assert voice.id == voice.name == "Grandma 🐝 Größe"
    assert voice.created_at > 1_700_000_000
    assert ids(http)[0] == voice.id
    folder = server.folder / "voice_clones" / voice.id
    assert (folder / "clip-1.mp3").read_bytes() == clip
    with pytest.raises(openai.ConflictError, match="Grandma"):
        client.audio.voices.create(name=voice.id, audio_sample=clip, consent="x")
    deleted = client.audio.voices.delete(voice.id)
    assert (deleted.object, deleted.id, deleted.deleted) == ("audio.voice.deleted", voice.id, True)
    assert not folder.exists()
    assert voice.id not in ids(http)
    with pytest.raises(openai.NotFoundError):
        client.audio.voices.delete(voice.id)


def test_a_new_voice_is_shown_with_what_its_clips_are_worth(
    http: httpx.Client, clip: bytes
) -> None:
    said = {"language": "en_US", "description": "Tells of bees"}
    made = add(http, "Bee Keeper", clip, **said)
    assert made.status_code == 200
    body = made.json()
    listed = next(voice for voice in http.get(VOICES).json()["data"] if voice["id"] == "Bee Keeper")
    assert listed == {
        "id": "Bee Keeper",
        "object": "audio.voice",
        "name": "Bee Keeper",
        "type": "cloned",
        "value": "Bee Keeper",
        "label": "Bee Keeper",
        "description": "Tells of bees",
        "created_at": body["created_at"],
    }
    details = http.get(f"{VOICES}/bee keeper").json()
    assert details == {**body, "type": "cloned"}
    assert details.items() >= listed.items()
    assert details["language"] == "en-US"
    assert details["engine"] == "xtts"
    assert details["ready"] is (details["engine_status"]["status"] == "ready")
    assert "en" in details["languages"]
    assert 8 < details["duration_s"] < 14
    assert details["findings"] == []
    assert [one["name"] for one in details["clips"]] == ["clip-1.wav"]
    assert details["preview_url"] == "/v1/audio/voices/Bee%20Keeper/preview"
    preview = http.get(details["preview_url"])
    assert preview.headers["content-type"] == "audio/wav"
    assert decode(preview.content, 24_000).duration_s == pytest.approx(details["duration_s"], abs=1)


@pytest.mark.parametrize("field", ["audio_sample", "audio_sample[]", "file", "files", "files[]"])
def test_several_clips_make_one_voice_under_every_usual_field(
    http: httpx.Client, field: str
) -> None:
    files = [(field, ("a.wav", GOOD)), (field, ("b.wav", wav(speech(4, 0.02))))]
    voice = http.post(VOICES, data={"name": "Two"}, files=files).json()
    assert [clip["duration_s"] for clip in voice["clips"]] == [8, 4]
    assert [finding["code"] for finding in voice["findings"]] == ["levels"]


def test_a_folder_and_a_file_dropped_in_are_voices_with_details_at_once(
    http: httpx.Client, server: Server
) -> None:
    folder = server.folder / "voice_clones"
    (folder / "Dad").mkdir()
    (folder / "Dad" / "1.wav").write_bytes(GOOD)
    (folder / "Dad" / "2.wav").write_bytes(GOOD)
    (folder / "broken.wav").write_bytes(b"RIFF")
    assert ids(http)[:2] == ["Dad", "broken"]
    dad, broken = (http.get(f"{VOICES}/{name}").json() for name in ("Dad", "broken"))
    assert dad["duration_s"] == 16
    assert [finding["code"] for finding in broken["clips"][0]["findings"]] == ["unreadable"]
    assert broken["ready"] is False
    (folder / "Dad" / "3.wav").write_bytes(b"RIFF")
    assert http.get(f"{VOICES}/Dad").json()["ready"] is False
    (folder / "Dad" / "3.wav").unlink()
    assert 12 < decode(http.get(dad["preview_url"]).content, 24_000).duration_s < 17
    assert checked(http.get(broken["preview_url"]), 400)["code"] == "invalid_audio"
    assert http.delete(f"{VOICES}/Dad").json()["deleted"] is True
    assert http.delete(f"{VOICES}/broken").json()["id"] == "broken"
    assert not (folder / "Dad").exists()
    assert not (folder / "broken.wav").exists()


def test_a_standard_voice_has_details_no_clip_and_stays(http: httpx.Client) -> None:
    nova = http.get(f"{VOICES}/nova").json()
    assert (nova["engine"], nova["ready"], nova["languages"]) == ("hibari", True, ["en"])
    assert (nova["preview_url"], nova["clips"], nova["type"]) == (None, [], "standard")
    assert "/v1/audio/speech" in checked(http.get(f"{VOICES}/nova/preview"), 404)["message"]
    assert checked(http.delete(f"{VOICES}/nova"), 403)["type"] == "permission_error"
    assert "nova" in ids(http)


# ---------------------------------------------------------------- what goes wrong

NAMES = [
    "",
    "../x",
    "a/b",
    "a\\b",
    ".",
    "..",
    ".x",
    "a\0b",
    "a\nb",
    "x" * 300,
    "CON",
    "nul.wav",
    "Nova",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_cannot_be_is_a_400(http: httpx.Client, server: Server, name: str) -> None:
    before = set(server.folder.rglob("*"))
    error = checked(add(http, name, GOOD), 400)
    assert error["param"] == "name"
    assert "1 to 80 characters" in error["message"]
    assert set(server.folder.rglob("*")) == before


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.wav", GOOD)
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (wav(speech(0.2)), "only 0.2 s"),
        (wav(silence(5)), "silence"),
        (zipped(), "not audio"),
        (b"hello", "not audio"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "not audio"),
    ],
)
def test_a_clip_that_is_no_voice_is_a_400_and_nothing_is_kept(
    http: httpx.Client, server: Server, data: bytes, reason: str
) -> None:
    error = checked(add(http, "Bad", data), 400)
    assert (error["param"], error["code"]) == ("audio_sample", "invalid_audio")
    assert reason in error["message"]
    assert str(server.folder) not in error["message"]
    assert list((server.folder / "voice_clones").iterdir()) == []


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"type": "prompt", "prompt": "a pirate"}, "type"),
        ({"language": "klingon!"}, "language"),
        ({"language": "th-TH"}, "language"),
        ({"description": "x" * 1001}, "description"),
    ],
)
def test_a_wrong_field_of_a_new_voice_is_named(
    http: httpx.Client, fields: dict[str, str], param: str
) -> None:
    assert checked(add(http, "Bad", GOOD, **fields), 400)["param"] == param


def test_a_form_without_a_clip_a_body_without_a_form_and_too_many_clips_are_400s(
    http: httpx.Client,
) -> None:
    bodies: list[dict[str, Any]] = [
        {"data": {"name": "x"}, "files": {"other": ("a.wav", GOOD)}},
        {"files": {"name": (None, "x"), "audio_sample": (None, "no file")}},
        {"json": {"name": "x", "audio_sample": "abc"}},
        {"content": b""},
        {"files": [("file", ("a.wav", b"x"))] * 51, "data": {"name": "x"}},
    ]
    for body in bodies:
        assert checked(http.post(VOICES, **body), 400)["param"] == "audio_sample"
    broken = {"content-type": "multipart/form-data; boundary=x"}
    checked(http.post(VOICES, content=b"--x\r\nnonsense", headers=broken), 400)


def test_a_clip_over_the_limit_is_a_413(http: httpx.Client) -> None:
    for clips in ([bytes(25_000_001)], [bytes(20_000_000)] * 3):
        assert checked(add(http, "Big", *clips), 413)["code"] == "file_too_large"


@pytest.mark.parametrize(
    "name", ["nobody", "..", "../nova", "%2e%2e%2fsecret", "a%00b", "x" * 3000]
)
def test_an_unknown_voice_is_a_404_whatever_is_asked_of_it(http: httpx.Client, name: str) -> None:
    path = f"{VOICES}/{name.replace('..', '%2e%2e')}"
    for method, end in (("GET", ""), ("DELETE", ""), ("GET", "/preview")):
        checked(http.request(method, path + end), 404)


def test_a_strange_page_cannot_change_voices_but_ask_for_them(http: httpx.Client) -> None:
    page = {"Origin": "http://evil.example"}
    files = {"audio_sample": ("a.wav", GOOD)}
    answer = http.post(VOICES, data={"name": "x"}, files=files, headers=page)
    assert "TRUSTED_ORIGINS" in checked(answer, 403)["message"]
    assert answer.headers["access-control-allow-origin"] == "*"
    checked(http.delete(f"{VOICES}/nova", headers=page), 403)
    assert http.get(VOICES, headers=page).status_code == 200
    own = {"Origin": str(http.base_url).rstrip("/")}
    made = http.post(VOICES, data={"name": "x"}, files=files, headers=own)
    assert made.status_code == 200


@pytest.mark.slow
def test_a_server_killed_while_it_writes_leaves_nothing_after_the_next_start(
    tmp_path: Path,
) -> None:
    voices = tmp_path / "voice_clones"
    left = voices / f".voice-{os.getpid() + 10_000_000}-ab.partial"
    left.mkdir(parents=True)
    (left / "clip-1.wav").write_bytes(GOOD)
    with running_server(tmp_path) as again, again.http() as http:
        assert "clip-1" not in str(ids(http))
        assert not left.exists()
