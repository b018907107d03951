"""Transcribe: a recording is written down while it is heard, its words light up, and it is saved."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser import SIZES, Complaints, screenshot, serious_findings
from tests.conftest import Server, running_server

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

READ = (
    "Hello there. This is a test of the writing machine. [pause:2s] The weather is very nice today."
)
HOSTILE = """"><img src=x onerror=alert(1)>.wav"""


@pytest.fixture(scope="module")
def clip(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Somebody speaks for some seconds."""
    path = tmp_path_factory.mktemp("clips") / "speech.mp3"
    with server.http() as http:
        path.write_bytes(http.post("/v1/audio/speech", json={"input": READ}).content)
    return path


@pytest.fixture
def transcribe(page: "Page") -> "Locator":
    """The tab, opened."""
    page.locator("#tab-transcribe").click()
    return page.locator("section#transcribe")


def write_down(transcribe: "Locator", clip: Path) -> None:
    """Have a file written down, to its end."""
    from playwright.sync_api import expect

    transcribe.locator("input[type=file]").set_input_files(clip)
    expect(transcribe.get_by_role("status").first).to_contain_text(
        "words. Language: English", timeout=30_000
    )


def test_a_file_is_written_down_and_saved_in_four_forms(
    page: "Page", transcribe: "Locator", clip: Path, server: Server, tmp_path: Path
) -> None:
    write_down(transcribe, clip)
    saved = {}
    for name in ("txt", "srt", "vtt", "json"):
        with page.expect_download() as saving:
            transcribe.get_by_role("button", name=name, exact=True).click()
        assert saving.value.suggested_filename == f"speech.{name}"
        saving.value.save_as(tmp_path / name)
        saved[name] = (tmp_path / name).read_text("utf-8")
    with server.http() as http:
        for ours, theirs in (("txt", "text"), ("srt", "srt"), ("vtt", "vtt")):
            files = {"file": ("speech.mp3", clip.read_bytes())}
            said = http.post(
                "/v1/audio/transcriptions",
                files=files,
                # The times of words settle those of the segments.
                data={"response_format": theirs, "timestamp_granularities[]": "word"},
            )
            assert saved[ours] == said.text
    told = json.loads(saved["json"])
    assert "The weather is very nice" in told["text"]
    assert told["words"][0]["word"] == "Hello"
    assert told["language"] == "en"


def test_words_light_up_as_they_are_played_and_a_click_on_one_jumps_there(
    page: "Page", transcribe: "Locator", clip: Path
) -> None:
    from playwright.sync_api import expect

    write_down(transcribe, clip)
    place = transcribe.get_by_role("slider", name="Place in: the recording")
    transcribe.locator(".word", has_text=re.compile("^weather")).click()
    expect(transcribe.locator(".word.is-lit")).to_have_text(re.compile("^(weather|is|very)"))
    assert float(place.get_attribute("aria-valuenow") or 0) > 3
    transcribe.get_by_role("button", name="Pause: the recording").click()
    expect(transcribe.locator(".word.is-lit")).to_have_count(0)
    transcribe.get_by_role("button", name="Play from 0:00").click()
    expect(transcribe.locator(".word.is-lit")).to_have_text(re.compile("Hello|there"))


def test_what_the_microphone_hears_is_written_down(transcribe: "Locator") -> None:
    from playwright.sync_api import expect

    transcribe.get_by_role("button", name="Record", exact=True).click()
    expect(transcribe.locator(".row > .hint.numbers").first).to_have_text("0:04")
    transcribe.get_by_role("button", name="Stop recording").click()
    expect(transcribe.get_by_label("Text", exact=True)).to_contain_text(
        "capital of France", timeout=30_000
    )


def test_a_double_click_ends_a_recording_and_begins_no_other(transcribe: "Locator") -> None:
    from playwright.sync_api import expect

    button = transcribe.locator("button").filter(has_text=re.compile("^(Record|Stop recording)$"))
    button.dblclick()
    expect(button).to_have_text("Stop recording")
    expect(transcribe.get_by_text("0:02", exact=True)).to_be_visible()
    # Its two clicks are further apart than the recording takes to end.
    button.click()
    expect(button).to_have_text("Record")
    expect(button).to_be_enabled()
    button.dispatch_event("click", {"detail": 2})
    expect(transcribe.get_by_role("heading", name="recording.wav")).to_be_visible()
    expect(transcribe.get_by_role("button", name="Again")).to_be_visible()
    expect(button).to_have_text("Record")


def test_what_is_no_sound_or_too_large_says_so_and_the_next_one_is_written_down(
    transcribe: "Locator", clip: Path, tmp_path: Path, complaints: Complaints
) -> None:
    from playwright.sync_api import expect

    complaints.expected = ["400", "413"]
    files = transcribe.locator("input[type=file]")
    text = tmp_path / HOSTILE.replace("/", "")
    text.write_text("This is no sound.")
    files.set_input_files(text)
    expect(transcribe.get_by_role("alert")).to_contain_text("audio")
    assert transcribe.locator("img").count() == 0
    huge = tmp_path / "huge.wav"
    for megabytes, said in ((200, "far too large"), (100, "25,000,000 bytes")):
        with huge.open("wb") as file:
            file.truncate(megabytes * 1_000_000)
        files.set_input_files(huge)
        expect(transcribe.get_by_role("alert")).to_contain_text(said)
    write_down(transcribe, clip)
    expect(transcribe.get_by_role("alert")).to_have_count(0)


def test_a_hostile_file_name_is_drawn_as_text(
    transcribe: "Locator", clip: Path, tmp_path: Path
) -> None:
    from playwright.sync_api import expect

    named = tmp_path / HOSTILE
    named.write_bytes(clip.read_bytes())
    write_down(transcribe, named)
    expect(transcribe.get_by_role("heading", level=2)).to_have_text(HOSTILE)
    assert transcribe.locator("img").count() == 0


def test_a_server_that_goes_away_meanwhile_is_said_and_it_is_done_again(
    open_page: Callable[..., "Page"], clip: Path, tmp_path: Path, complaints: Complaints
) -> None:
    from playwright.sync_api import expect

    complaints.expected = ["ERR_CONNECTION", "ERR_INCOMPLETE", "ERR_NETWORK", "ERR_EMPTY"]
    with running_server(tmp_path, "--stop-timeout-s=0") as stopping:
        page = open_page("/#transcribe", url=stopping.url)
        tab = page.locator("section#transcribe")
        expect(tab.get_by_role("heading", level=1)).to_be_visible()
        stopping.process.kill()
        stopping.process.wait()
        tab.locator("input[type=file]").set_input_files(clip)
        expect(tab.get_by_role("alert")).to_contain_text("Is it running?")
        expect(tab.get_by_role("button", name="Again")).to_be_visible()


def test_a_stream_that_breaks_off_keeps_what_was_written_and_offers_to_begin_again(
    page: "Page", transcribe: "Locator", clip: Path
) -> None:
    from playwright.sync_api import expect

    segment = {
        "type": "transcript.text.segment",
        "start": 0,
        "end": 1,
        "text": " Half",
        "words": [],
    }
    half = f"data: {json.dumps(segment)}\n\n"
    page.route(
        "**/v1/audio/transcriptions",
        lambda route: route.fulfill(body=half, content_type="text/event-stream"),
    )
    transcribe.locator("input[type=file]").set_input_files(clip)
    expect(transcribe.get_by_role("alert")).to_contain_text("went away")
    expect(transcribe.get_by_label("Text", exact=True)).to_contain_text("Half")
    page.unroute("**/v1/audio/transcriptions")
    transcribe.get_by_role("button", name="Again").click()
    expect(transcribe.get_by_role("status").first).to_contain_text(
        "words. Language: English", timeout=30_000
    )
    expect(transcribe.get_by_role("alert")).to_have_count(0)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_its_screen_and_everyone_can_use_it(
    open_page: Callable[..., "Page"], clip: Path, size: str, scheme: str
) -> None:
    from playwright.sync_api import expect

    width, height = SIZES[size]
    view = {"width": width, "height": height}
    page = open_page("/#transcribe", viewport=view, color_scheme=scheme)
    tab = page.locator("section#transcribe")
    write_down(tab, clip)
    expect(tab.locator(".transcript p").first).to_be_in_viewport(ratio=1)
    tab.get_by_role("button", name="Play from 0:00").click()
    expect(tab.locator(".word.is-lit")).to_have_count(1)
    tab.get_by_role("button", name="Pause: the recording").click()
    screenshot(page, f"transcribe-written-{size}-{scheme}")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert serious_findings(page) == []
