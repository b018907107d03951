"""Speak: a text is heard while it is made, saved, found again, and asked for by a program."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser import SIZES, Complaints, screenshot, serious_findings
from tests.conftest import Server, running_server

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

TEXT = """It's "five" o'clock\\ & <b>tea</b> is ready."""


@pytest.fixture
def speak(page: "Page") -> "Locator":
    """The tab, opened, with its voices."""
    from playwright.sync_api import expect

    page.locator("#tab-speak").click()
    tab = page.locator("section#speak")
    expect(tab.get_by_label("Voice", exact=True)).to_have_value("alloy")
    return tab


def say(speak: "Locator", text: str) -> None:
    """Have a text spoken, and wait until it was heard."""
    from playwright.sync_api import expect

    speak.get_by_label("Text").fill(text)
    speak.get_by_role("button", name="Speak", exact=True).click()
    expect(speak.get_by_role("button", name="Play: the speech")).to_be_visible()


def test_a_text_is_heard_in_a_voice_and_saved_in_any_format(
    page: "Page", speak: "Locator", tmp_path: Path
) -> None:
    from playwright.sync_api import expect

    speak.get_by_label("Voice", exact=True).select_option("nova")
    say(speak, TEXT)
    assert speak.get_by_role("heading", level=2).first.text_content() == TEXT
    place = speak.get_by_role("slider", name="Place in: the speech")
    assert float(place.get_attribute("aria-valuemax") or 0) > 1
    for name, begin in (("wav", b"RIFF"), ("mp3", b"\xff"), ("flac", b"fLaC")):
        speak.get_by_label("File format").select_option(name)
        with page.expect_download() as saving:
            speak.get_by_role("button", name=f"Save as {name}").click()
        assert saving.value.suggested_filename == f"It-s-five-o-clock-b-tea-b-is-ready.{name}"
        saving.value.save_as(tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(begin)
    place.focus()
    page.keyboard.press("End")
    expect(place).to_have_attribute("aria-valuenow", place.get_attribute("aria-valuemax") or "")


def test_what_was_chosen_is_chosen_again_the_next_time(page: "Page", speak: "Locator") -> None:
    from playwright.sync_api import expect

    chosen = {"Voice": "nova", "File format": "flac", "Language": "en"}
    for label, value in chosen.items():
        speak.get_by_label(label, exact=True).select_option(value)
    speak.get_by_label("Speed").fill("1.25")
    page.reload()
    for label, value in {**chosen, "Speed": "1.25"}.items():
        expect(speak.get_by_label(label, exact=True)).to_have_value(value)
    expect(speak.get_by_text("1.25 ×")).to_be_visible()


def test_a_long_text_is_heard_before_all_of_it_is_made_and_can_be_stopped(
    page: "Page", speak: "Locator"
) -> None:
    from playwright.sync_api import expect

    asked = []
    page.on("request", lambda request: asked.append(request.url))
    speak.get_by_label("Text").fill("This goes on and on, and nobody hears its end. " * 60)
    speak.get_by_role("button", name="Speak", exact=True).click()
    speak.get_by_role("button", name="Stop", exact=True).click()
    speak.get_by_role("button", name="Speak", exact=True).click()
    expect(speak.get_by_role("button", name="Stop: the speech")).to_be_visible()
    speak.get_by_role("button", name="Stop", exact=True).click()
    expect(speak.get_by_role("button", name="Speak", exact=True)).to_be_visible()
    assert speak.locator(".problem").count() == 0
    assert sum(url.endswith("/v1/audio/speech") for url in asked) <= 2


def test_earlier_ones_are_played_and_shared_by_a_link(
    page: "Page", speak: "Locator", open_page: Callable[..., "Page"]
) -> None:
    from playwright.sync_api import expect

    say(speak, "Keep this one.")
    row = speak.locator(".rows li").first
    expect(row).to_contain_text("keep this one")
    row.get_by_role("button", name="Listen to: keep this one").click()
    expect(speak.get_by_role("heading", name="keep this one")).to_be_visible()
    row.get_by_role("button", name="Share").click()
    expect(page.locator(".toast")).to_contain_text("link is copied")
    link = page.evaluate("navigator.clipboard.readText()")
    other = open_page("/" + re.sub(r"^.*(#speak/)", r"\1", link))
    expect(
        other.locator("section#speak").get_by_role("heading", name="keep this one")
    ).to_be_visible()


def test_where_a_browser_wants_a_click_first_a_link_shows_the_sound_and_waits(
    speak: "Locator", open_page: Callable[..., "Page"], server: Server
) -> None:
    from playwright.sync_api import expect

    say(speak, "Wait for a click.")
    with server.http() as http:
        kept = http.get("/v1/audio/speech/kept").json()["data"][0]["id"]
    page = open_page()
    # As Safari and Firefox do; the browser of the tests allows it always.
    refusal = "() => Promise.reject(new DOMException('no', 'NotAllowedError'))"
    page.evaluate(f"() => {{ HTMLMediaElement.prototype.play = {refusal}; }}")
    page.evaluate("id => { location.hash = `speak/${id}`; }", kept)
    shown = page.locator("section#speak")
    expect(shown.get_by_role("button", name="Play: the speech")).to_be_visible()
    expect(shown.get_by_role("slider", name="Place in: the speech")).to_have_attribute(
        "aria-valuetext", re.compile(r"of 0:0[1-9]")
    )
    page.wait_for_load_state("networkidle")
    assert page.get_by_role("alert").count() == 0


def test_a_link_to_nothing_says_so(
    open_page: Callable[..., "Page"], complaints: Complaints
) -> None:
    from playwright.sync_api import expect

    complaints.expected = ["400", "404"]
    for link in ("%E0%A4%A", "no-such.wav"):
        page = open_page(f"/#speak/{link}")
        expect(page.get_by_role("alert")).to_be_visible()


def test_the_same_request_is_there_for_programs(
    page: "Page", speak: "Locator", server: Server, tmp_path: Path
) -> None:
    speak.get_by_text("The same from a program").click()
    speak.get_by_label("Text").fill(TEXT)
    speak.get_by_label("Speed").fill("1.25")
    code = speak.locator(".code code")
    script = code.text_content() or ""
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, timeout=60)
    assert done.returncode == 0
    assert (tmp_path / "speech.mp3").read_bytes()[0] == 0xFF
    speak.get_by_role("button", name="Python", exact=True).click()
    python = code.text_content() or ""
    compile(python, "snippet", "exec")
    assert "    speed=1.25,\n" in python
    assert json.dumps(TEXT) in python
    speak.get_by_role("button", name="JavaScript", exact=True).click()
    javascript = code.text_content() or ""
    size = page.evaluate(
        "code => new (async () => {}).constructor(`${code}; return speech.size`)()", javascript
    )
    assert size > 1000
    speak.get_by_role("button", name="Copy the program").click()
    page.wait_for_function(
        "code => navigator.clipboard.readText().then((t) => t === code)", arg=javascript
    )


def test_the_copy_button_covers_nothing_of_the_program_on_a_phone(
    open_page: Callable[..., "Page"],
) -> None:
    width, height = SIZES["phone"]
    page = open_page("/#speak", viewport={"width": width, "height": height})
    page.get_by_text("The same from a program").click()
    button = page.get_by_role("button", name="Copy the program").bounding_box()
    program = page.locator("#speak .code pre").bounding_box()
    assert button
    assert program
    assert button["y"] + button["height"] <= program["y"]


def test_on_a_phone_what_is_spoken_comes_into_view(page: "Page", speak: "Locator") -> None:
    from playwright.sync_api import expect

    width, height = SIZES["phone"]
    page.set_viewport_size({"width": width, "height": height})
    say(speak, "A short one.")
    play, tabs = speak.get_by_label("Play: the speech"), page.get_by_role("tablist")
    expect(play).to_be_in_viewport(ratio=1)
    shown, bar = play.bounding_box(), tabs.bounding_box()
    assert shown
    assert bar
    assert shown["y"] + shown["height"] <= bar["y"]


def test_what_cannot_be_spoken_says_why(
    page: "Page", speak: "Locator", complaints: Complaints
) -> None:
    from playwright.sync_api import expect

    complaints.expected = ["400"]
    speak.get_by_label("Text").fill("   ")
    speak.get_by_role("button", name="Speak", exact=True).click()
    expect(speak.get_by_role("alert")).to_contain_text("nothing to say")
    speak.get_by_label("Text").fill("Добрый день, как дела?")
    speak.get_by_role("button", name="Speak", exact=True).click()
    expect(speak.get_by_role("alert")).to_contain_text("English")
    say(speak, "And this can be.")
    expect(speak.get_by_role("alert")).to_have_count(0)


def test_without_a_server_it_says_so_and_goes_on_when_there_is_one(
    page: "Page", speak: "Locator", complaints: Complaints
) -> None:
    from playwright.sync_api import expect

    complaints.expected = ["ERR_CONNECTION_REFUSED"]
    page.route("**/v1/audio/speech", lambda route: route.abort("connectionrefused"))
    speak.get_by_role("button", name="Speak", exact=True).click()
    expect(speak.get_by_role("alert")).to_contain_text("Is it running?")
    page.unroute("**/v1/audio/speech")
    say(speak, "Here again.")


def test_opened_without_a_server_it_says_so_once(page: "Page", complaints: Complaints) -> None:
    from playwright.sync_api import expect

    complaints.expected = ["ERR_CONNECTION_REFUSED"]
    page.route("**/v1/audio/**", lambda route: route.abort("connectionrefused"))
    page.locator("#tab-speak").click()
    speak = page.locator("section#speak")
    again = speak.get_by_role("button", name="Try again")
    expect(again).to_be_visible()
    expect(speak.get_by_text("Is it running?")).to_have_count(1)
    page.unroute("**/v1/audio/**")
    again.click()
    expect(speak.get_by_label("Voice", exact=True)).to_have_value("alloy")
    expect(speak.get_by_text("Is it running?")).to_have_count(0)


def test_a_server_that_goes_away_in_the_middle_is_said(
    open_page: Callable[..., "Page"], tmp_path: Path, complaints: Complaints
) -> None:
    from playwright.sync_api import expect

    complaints.expected = ["ERR_"]
    with running_server(tmp_path) as dying:
        page = open_page("/#speak", url=dying.url)
        speak = page.locator("section#speak")
        expect(speak.get_by_label("Voice", exact=True)).to_have_value("alloy")
        speak.get_by_label("Text").fill("This goes on and on, and nobody hears its end. " * 60)
        speak.get_by_role("button", name="Speak", exact=True).click()
        expect(speak.get_by_role("button", name="Stop: the speech")).to_be_visible()
        dying.process.kill()
        dying.process.wait()
        expect(speak.get_by_role("alert").first).to_contain_text("The server went away")
        speak.get_by_role("button", name="Speak", exact=True).click()
        expect(speak.get_by_role("alert").first).to_contain_text("Is it running?")


def test_a_double_click_speaks_and_does_not_stop_at_once(speak: "Locator") -> None:
    from playwright.sync_api import expect

    speak.get_by_label("Text").fill("This goes on and on, and nobody hears its end. " * 60)
    speak.get_by_role("button", name="Speak", exact=True).dblclick()
    expect(speak.get_by_role("button", name="Stop: the speech")).to_be_visible()
    speak.get_by_role("button", name="Stop", exact=True).click()
    expect(speak.get_by_role("button", name="Speak", exact=True)).to_be_visible()


def test_an_earlier_one_takes_the_place_of_what_is_spoken(speak: "Locator") -> None:
    from playwright.sync_api import expect

    say(speak, "First of all.")
    speak.get_by_label("Text").fill("This goes on and on, and nobody hears its end. " * 60)
    speak.get_by_role("button", name="Speak", exact=True).click()
    expect(speak.get_by_role("button", name="Stop: the speech")).to_be_visible()
    speak.get_by_role("button", name="Listen to: first of all").first.click()
    expect(speak.get_by_role("heading", name="first of all")).to_be_visible()
    expect(speak.get_by_role("button", name="Speak", exact=True)).to_be_visible()
    expect(speak.get_by_role("slider", name="Place in: the speech")).to_be_visible()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_its_screen_and_everyone_can_use_it(
    open_page: Callable[..., "Page"], size: str, scheme: str
) -> None:
    width, height = SIZES[size]
    page = open_page("/#speak", viewport={"width": width, "height": height}, color_scheme=scheme)
    speak = page.locator("section#speak")
    say(speak, "A short one.")
    speak.get_by_text("The same from a program").click()
    screenshot(page, f"speak-spoken-{size}-{scheme}")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert serious_findings(page) == []
