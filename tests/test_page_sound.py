"""The page's player plays what arrives, in order and without gaps; its recorder hears the microphone."""

import base64
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.browser import SPOKEN, Complaints
from tests.conftest import Server

if TYPE_CHECKING:
    from playwright.sync_api import Page

PLAY = """async ({format, texts}) => {
  const { Player } = await import("/page/sound.js");
  const { send } = await import("/page/api.js");
  const changes = [];
  const player = new Player({ onchange: () => changes.push(player.isPlaying) });
  const speak = (input) => {
    const body = { input, response_format: format, stream: true };
    return send("/v1/audio/speech", { method: "POST", body });
  };
  const pieces = texts.map((text) => player.add(speak(text)));
  const sounds = await Promise.all(pieces.map((piece) => piece.sound));
  await pieces.at(-1).ended;
  return {
    seconds: sounds.map(({ samples, rateHz }) => samples.length / rateHz),
    rates: sounds.map(({ rateHz }) => rateHz),
    peaks: sounds.map(({ samples }) => samples.reduce((most, each) => Math.max(most, Math.abs(each)), 0)),
    first: changes[0], last: changes.at(-1),
    ends: pieces.map((piece) => piece.position),
  };
}"""


def test_pieces_of_speech_are_played_one_after_the_other(page: "Page") -> None:
    for format_name in ("pcm", "wav"):
        played = page.evaluate(PLAY, {"format": format_name, "texts": ["One.", "Two, three."]})
        assert played["rates"] == [24_000, 24_000]
        assert all(0.2 < seconds < 3 for seconds in played["seconds"])
        assert all(0.05 < peak <= 1 for peak in played["peaks"])
        assert (played["first"], played["last"]) == (True, False)
        assert played["ends"] == played["seconds"]  # all of it was heard


STOP = """async () => {
  const { Player } = await import("/page/sound.js");
  const { send } = await import("/page/api.js");
  const player = new Player();
  const input = "A sentence that nobody will hear to its end. ".repeat(20);
  const body = { input, response_format: "pcm", stream: true };
  const piece = player.add(send("/v1/audio/speech", { method: "POST", body }));
  const later = player.add(send("/v1/audio/speech", { method: "POST", body }));
  await piece.begun;
  player.stop();
  await piece.ended;
  return [player.isPlaying, await later.sound.catch((error) => error.name)];
}"""


def test_a_player_that_is_stopped_drops_what_it_had(page: "Page") -> None:
    assert page.evaluate(STOP) == [False, "AbortError"]


FAIL = """async () => {
  const { Player } = await import("/page/sound.js");
  const { send } = await import("/page/api.js");
  const player = new Player();
  const speak = (asked) => {
    const body = { response_format: "pcm", ...asked };
    return send("/v1/audio/speech", { method: "POST", body });
  };
  const wrong = player.add(speak({ input: "Hello", voice: "nobody" }));
  const right = player.add(speak({ input: "Hello" }));
  const said = await wrong.sound.catch((error) => error.message);
  await right.ended;
  return [said, (await right.sound).samples.length > 5000];
}"""


def test_a_piece_that_cannot_be_spoken_says_so_and_the_next_one_is_played(
    page: "Page", complaints: Complaints
) -> None:
    complaints.expected = ["404"]
    said, is_next_spoken = page.evaluate(FAIL)
    assert "nobody" in said
    assert is_next_spoken


RECORD = """async () => {
  const { record } = await import("/page/sound.js");
  const levels = [];
  let enough;
  const heard = new Promise((resolve) => (enough = resolve));
  const recording = await record({ onlevel: (level) => {
    levels.push(level);
    if (recording.seconds > 4) enough();
  } });
  await heard;
  const blob = await recording.stop();
  const bytes = new Uint8Array(await blob.arrayBuffer());
  const tracks = recording.stream.getTracks().map((track) => track.readyState);
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return { wav: btoa(text), levels, tracks };
}"""


def test_a_recording_is_what_the_microphone_heard(page: "Page", server: Server) -> None:
    recorded = page.evaluate(RECORD)
    assert all(0 <= level <= 1 for level in recorded["levels"])
    assert max(recorded["levels"]) > 0.4
    assert recorded["tracks"] == ["ended"]
    with server.http() as http:
        files = {"file": ("said.wav", base64.b64decode(recorded["wav"]))}
        text = http.post("/v1/audio/transcriptions", files=files).json()["text"]
    assert "capital of France" in text
    assert "capital of France" in SPOKEN


def test_a_page_from_elsewhere_without_https_says_why_there_is_no_microphone(
    open_page: Callable[..., "Page"], server: Server
) -> None:
    port = server.url.rsplit(":", 1)[1]
    page = open_page(url=f"http://elsewhere.test:{port}")
    said = page.evaluate(
        """() => import("/page/sound.js").then(({ record }) => record()).catch((e) => e.message)"""
    )
    assert "--ssl-certfile" in said
    assert "localhost" in said
