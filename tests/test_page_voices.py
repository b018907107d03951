"""Voices: every one is played; a new one is made of a recording, listened to, and deleted with a way back."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from engine_room.xtts.folder import XttsFolder
from tests.browser import SIZES, Complaints, screenshot, serious_findings
from tests.conftest import Server, running_server

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

READ = "The north wind and the sun were arguing which of them was the stronger, when a traveller came along."
HOSTILE = """"><img src=x onerror="document.title='taken'">"""
MICROPHONE = ["microphone", "clipboard-read", "clipboard-write"]


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("voices")
    with running_server(folder) as server:
        yield server


@pytest.fixture(scope="module")
def clip(own_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Somebody reads for some seconds."""
    path = tmp_path_factory.mktemp("clips") / "Grandma.wav"
    with own_server.http() as http:
        body = {"input": READ, "voice": "sage", "response_format": "wav"}
        path.write_bytes(http.post("/v1/audio/speech", json=body).raise_for_status().content)
    return path


@pytest.fixture
def voices(
    open_page: Callable[..., "Page"], own_server: Server, http: httpx.Client
) -> Iterator["Locator"]:
    """The tab, opened, with the voices; those made meanwhile are gone afterwards."""
    from playwright.sync_api import expect

    page = open_page("/#voices", url=own_server.url, permissions=MICROPHONE)
    tab = page.locator("section#voices")
    expect(tab.get_by_role("article", name="Alloy")).to_be_visible()
    tab.get_by_text("Make a voice of your own").click()
    yield tab
    for voice in http.get("/v1/audio/voices").json()["data"]:
        if voice["type"] == "cloned":
            http.delete(f"/v1/audio/voices/{voice['id']}")


def made(voices: "Locator", clip: Path, name: str = "") -> None:
    """Make a voice of a file."""
    from playwright.sync_api import expect

    voices.locator("input[type=file]").set_input_files(clip)
    if name:
        voices.get_by_label("Name", exact=True).fill(name)
    voices.get_by_label("This person agrees").check()
    voices.get_by_role("button", name="Make the voice").click()
    expect(voices.get_by_role("article", name=name or clip.stem)).to_be_visible()


def ids(http: httpx.Client) -> list[str]:
    return [voice["id"] for voice in http.get("/v1/audio/voices").json()["data"]]


def test_every_voice_is_a_card_that_plays_it(voices: "Locator", own_server: Server) -> None:
    from playwright.sync_api import expect

    assert voices.get_by_role("article").count() == 13
    card = voices.get_by_role("article", name="Onyx")
    expect(card).to_contain_text("deep man")
    card.get_by_role("button", name="Listen to Onyx").click()
    expect(card.get_by_role("button", name="Stop Onyx")).to_be_visible()
    other = voices.get_by_role("article", name="Nova")
    other.get_by_role("button", name="Listen to Nova").click()  # one at a time
    expect(card.get_by_role("button", name="Listen to Onyx")).to_be_visible()
    other.get_by_role("button", name="Stop Nova").click()
    expect(other.get_by_role("button", name="Listen to Nova")).to_be_visible()
    assert voices.get_by_role("button", name="Delete").count() == 0


def test_a_file_is_cut_named_and_becomes_a_voice_with_a_verdict(
    voices: "Locator", clip: Path, http: httpx.Client
) -> None:
    from playwright.sync_api import expect

    page = voices.page
    voices.locator("input[type=file]").set_input_files(clip)
    expect(voices.get_by_label("Name", exact=True)).to_have_value("Grandma")
    expect(voices.get_by_role("status").first).to_contain_text("Drag the ends")
    end = voices.get_by_role("slider", name="End")
    whole = float(end.get_attribute("aria-valuenow") or 0)
    end.focus()
    page.keyboard.press("PageDown")
    assert float(end.get_attribute("aria-valuenow") or 0) == pytest.approx(whole - 1, abs=0.11)
    expect(voices.get_by_role("status").first).to_contain_text(f"of {whole:.1f} seconds")
    voices.get_by_label("Language spoken").select_option("en")
    voices.get_by_label("A few words about it").fill("Tells stories")
    voices.get_by_role("button", name="Make the voice").click()
    expect(voices.get_by_role("alert")).to_contain_text("agree")
    voices.get_by_label("This person agrees").check()
    voices.get_by_role("button", name="Make the voice").dblclick()
    card = voices.get_by_role("article", name="Grandma")
    expect(card).to_contain_text("Tells stories")
    expect(voices).to_contain_text("what the recording is worth")
    told = http.get("/v1/audio/voices/Grandma").json()
    assert told["language"] == "en"
    assert told["clips"][0]["duration_s"] == pytest.approx(whole - 1, abs=0.2)
    card.get_by_role("button", name="About Grandma").click()
    expect(page.get_by_role("dialog")).to_contain_text("seconds of speech")
    page.get_by_role("dialog").get_by_role("button", name="Play: the recording").click()
    page.get_by_role("dialog").get_by_role("button", name="Pause: the recording").click()
    page.get_by_role("dialog").get_by_role("button", name="Close").click()


def test_without_an_xtts_model_the_page_says_what_mends_it_and_plays_the_recording(
    voices: "Locator", clip: Path
) -> None:
    from playwright.sync_api import expect

    made(voices, clip)
    expect(voices.locator(".note")).to_contain_text("cannot speak yet")
    expect(voices.locator(".note")).to_contain_text("xtts_v2")
    card = voices.get_by_role("article", name="Grandma")
    card.get_by_role("button", name="Listen to Grandma").click()
    card.get_by_role("button", name="Stop Grandma").click()
    expect(card.locator(".problem")).to_have_count(0)
    card.get_by_role("button", name="About Grandma").click()
    voices.page.get_by_role("dialog").get_by_role("link", name="Fetch xtts_v2").click()
    models = voices.page.locator("section#models")
    expect(models.get_by_role("button", name="Fetch xtts_v2")).to_be_visible()
    voices.page.locator("#tab-voices").click()  # which an open dialog would not let through


def test_speak_says_what_a_cloned_voice_lacks_in_the_servers_words(
    voices: "Locator", clip: Path, complaints: Complaints
) -> None:
    from playwright.sync_api import expect

    complaints.expected = ["503"]
    made(voices, clip)
    page = voices.page
    page.locator("#tab-speak").click()
    speak = page.locator("section#speak")
    speak.get_by_label("Voice", exact=True).select_option("Grandma")
    speak.get_by_role("button", name="Speak", exact=True).click()
    expect(speak.get_by_role("alert")).to_contain_text("'Grandma' cannot speak")
    expect(speak.get_by_role("alert")).to_contain_text("models download xtts_v2")


def test_with_an_xtts_model_a_cloned_voice_speaks(
    open_page: Callable[..., "Page"], xtts_folder: XttsFolder, clip: Path, tmp_path: Path
) -> None:
    from playwright.sync_api import expect

    shutil.copytree(xtts_folder.path, tmp_path / "models" / "xtts_v2")
    with running_server(tmp_path, "--accept-xtts-license") as cloning:
        page = open_page("/#voices", url=cloning.url)
        voices = page.locator("section#voices")
        expect(voices.get_by_role("region", name="Studio voices")).to_be_visible()
        voices.get_by_text("Make a voice of your own").click()
        made(voices, clip)
        expect(voices.locator(".note")).to_have_count(0)
        page.locator("#tab-speak").click()
        speak = page.locator("section#speak")
        speak.get_by_label("Voice", exact=True).select_option("Grandma")
        speak.get_by_label("Text").fill("Hello.")
        speak.get_by_role("button", name="Speak", exact=True).click()
        played = speak.get_by_role("button", name="Play: the speech")
        expect(played).to_be_visible(timeout=60_000)


def test_a_voice_is_recorded_in_the_browser(voices: "Locator", http: httpx.Client) -> None:
    from playwright.sync_api import expect

    voices.get_by_role("button", name="Record", exact=True).click()
    expect(voices.locator(".row > .hint.numbers").first).to_have_text("0:04")
    level = voices.locator(".level span")
    assert "scaleX" in (level.get_attribute("style") or "")
    voices.get_by_role("button", name="Stop recording").click()
    expect(voices.get_by_role("slider", name="Beginning")).to_be_visible()
    voices.get_by_label("Name", exact=True).fill("Me")
    voices.get_by_label("This person agrees").check()
    voices.get_by_role("button", name="Make the voice").click()
    expect(voices.get_by_role("article", name="Me", exact=True)).to_be_visible()
    assert http.get("/v1/audio/voices/Me").json()["duration_s"] > 2


def test_a_voice_is_deleted_after_a_minute_unless_it_is_undone(
    voices: "Locator", clip: Path, http: httpx.Client
) -> None:
    from playwright.sync_api import expect

    page = voices.page
    made(voices, clip)
    page.clock.install()
    card = voices.get_by_role("article", name="Grandma")
    card.get_by_role("button", name="Delete Grandma").click()
    page.get_by_role("button", name="Keep it").click()
    card.get_by_role("button", name="Delete Grandma").click()
    page.get_by_role("button", name="Delete it").click()
    expect(card).to_contain_text("Is deleted in")
    page.clock.run_for(30_000)
    assert "Grandma" in ids(http)
    card.get_by_role("button", name="Undo").click()
    page.clock.run_for(70_000)
    assert "Grandma" in ids(http)
    card.get_by_role("button", name="Delete Grandma").click()
    page.get_by_role("button", name="Delete it").click()
    page.clock.run_for(61_000)
    expect(card).to_have_count(0)
    assert "Grandma" not in ids(http)


def test_a_clip_that_is_refused_says_why_and_the_page_goes_on(
    voices: "Locator", clip: Path, tmp_path: Path, complaints: Complaints
) -> None:
    from playwright.sync_api import expect

    complaints.expected = ["400", "413", "409"]
    text = tmp_path / "notes.mp3"
    text.write_text("This is no sound at all.")
    voices.locator("input[type=file]").set_input_files(text)
    expect(voices.get_by_role("status").first).to_contain_text("cannot draw")
    voices.get_by_label("This person agrees").check()
    voices.get_by_role("button", name="Make the voice").click()
    expect(voices.get_by_role("alert")).to_contain_text("audio")
    for megabytes, said in ((200, "far too large"), (100, "25,000,000 bytes")):
        huge = tmp_path / "huge.wav"
        with huge.open("wb") as file:
            file.truncate(megabytes * 1_000_000)
        voices.locator("input[type=file]").set_input_files(huge)
        if megabytes < 150:
            voices.get_by_label("This person agrees").check()
            voices.get_by_role("button", name="Make the voice").click()
        expect(voices.get_by_role("alert")).to_contain_text(said)
    made(voices, clip)
    voices.locator("input[type=file]").set_input_files(clip)
    voices.get_by_label("This person agrees").check()
    voices.get_by_role("button", name="Make the voice").click()
    expect(voices.get_by_role("alert")).to_contain_text("Grandma")


def test_what_is_wrong_is_said_next_to_the_button_also_on_a_phone(
    open_page: Callable[..., "Page"], own_server: Server, clip: Path
) -> None:
    from playwright.sync_api import expect

    width, height = SIZES["phone"]
    page = open_page("/#voices", own_server.url, viewport={"width": width, "height": height})
    page.get_by_text("Make a voice of your own").click()
    page.locator("#voices input[type=file]").set_input_files(clip)
    button = page.get_by_role("button", name="Make the voice")
    button.evaluate("button => button.scrollIntoView({ block: 'center' })")
    button.click()
    expect(page.get_by_role("alert")).to_be_in_viewport(ratio=1)


def test_a_hostile_name_is_drawn_as_text(voices: "Locator", own_server: Server, clip: Path) -> None:
    from playwright.sync_api import expect

    folder = own_server.folder / "voice_clones"
    (folder / f"{HOSTILE}.wav").write_bytes(clip.read_bytes())
    voices.page.reload()
    card = voices.get_by_role("article").filter(has_text="onerror")
    expect(card.get_by_role("heading")).to_contain_text(HOSTILE)
    card.get_by_role("button", name="About").click()
    expect(voices.page.get_by_role("dialog").get_by_role("heading")).to_contain_text(HOSTILE)
    assert voices.locator("img").count() == 0
    assert "taken" not in voices.page.title()
    (folder / f"{HOSTILE}.wav").unlink()


def test_without_a_server_it_says_so_and_tries_again(
    open_page: Callable[..., "Page"], own_server: Server, complaints: Complaints
) -> None:
    from playwright.sync_api import expect

    complaints.expected = ["ERR_CONNECTION_REFUSED"]
    page = open_page(url=own_server.url)
    page.route("**/v1/audio/voices", lambda route: route.abort("connectionrefused"))
    page.locator("#tab-voices").click()
    expect(page.locator("section#voices").get_by_role("alert")).to_contain_text("Is it running?")
    page.unroute("**/v1/audio/voices")
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("article", name="Alloy")).to_be_visible()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_its_screen_and_everyone_can_use_it(
    open_page: Callable[..., "Page"],
    voices: "Locator",
    own_server: Server,
    clip: Path,
    size: str,
    scheme: str,
) -> None:
    from playwright.sync_api import expect

    made(voices, clip)
    width, height = SIZES[size]
    view = {"width": width, "height": height}
    page = open_page("/#voices", url=own_server.url, viewport=view, color_scheme=scheme)
    tab = page.locator("section#voices")
    expect(tab.get_by_role("article", name="Grandma")).to_be_visible()
    screenshot(page, f"voices-list-{size}-{scheme}")
    tab.get_by_text("Make a voice of your own").click()
    tab.locator("input[type=file]").set_input_files(clip)
    expect(tab.get_by_role("slider", name="End")).to_be_visible()
    expect(tab.get_by_role("status").first).to_contain_text("seconds")
    screenshot(page, f"voices-new-{size}-{scheme}")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert serious_findings(page) == []
