"""Two tabs of a browser, or two people: what one does to voices, speech and models, the other sees."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser import Complaints
from tests.conftest import Server
from tests.test_page_speak import say
from tests.test_page_voices import READ, made

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.fixture(scope="module")
def clip(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Somebody reads for some seconds."""
    path = tmp_path_factory.mktemp("clips") / "reading.wav"
    with server.http() as http:
        body = {"input": READ, "voice": "sage", "response_format": "wav"}
        path.write_bytes(http.post("/v1/audio/speech", json=body).raise_for_status().content)
    return path


@pytest.fixture
def other(page: "Page", complaints: Complaints) -> "Page":
    """A second tab of the same browser."""
    other = page.context.new_page()
    complaints.watch(other)
    other.goto(page.url)
    return other


def shown(page: "Page", tab: str) -> None:
    """Go to a tab, or leave it and come back."""
    from playwright.sync_api import expect

    page.bring_to_front()  # behind another one it is drawn once a second
    for name in ("talk", tab):
        page.locator(f"#tab-{name}").click()
        expect(page.locator(f"section#{name} h1")).to_be_visible()


def test_a_voice_made_in_one_tab_is_in_the_other_when_shown_and_gone_when_deleted(
    page: "Page", other: "Page", complaints: Complaints, server: Server, clip: Path
) -> None:
    from playwright.sync_api import expect

    complaints.expected = ["404"]
    for each in (page, other):
        shown(each, "voices")
        expect(each.get_by_role("article", name="Alloy")).to_be_visible()
    page.get_by_text("Make a voice of your own").click()
    made(page.locator("section#voices"), clip, "Shared")
    shown(other, "voices")
    card = other.get_by_role("article", name="Shared")
    expect(card).to_be_visible()
    shown(other, "speak")
    voice = other.locator("section#speak").get_by_label("Voice", exact=True)
    voice.select_option("Shared")
    # Somebody else deletes it: here it is still shown, and says that it is no more.
    with server.http() as http:
        http.delete("/v1/audio/voices/Shared").raise_for_status()
    other.locator("#speak").get_by_role("button", name="Speak", exact=True).click()
    expect(other.locator("#speak").get_by_role("alert")).to_contain_text("Shared")
    page.bring_to_front()
    page.get_by_role("button", name="Listen to Shared").click()
    expect(page.get_by_role("article", name="Shared").get_by_role("alert")).to_contain_text(
        "Shared"
    )
    page.get_by_role("button", name="Delete Shared").click()
    page.get_by_role("button", name="Keep it").click()
    shown(page, "voices")
    expect(page.get_by_role("article", name="Shared")).to_have_count(0)
    shown(other, "speak")
    expect(voice).to_have_value("alloy")


def test_speech_of_both_tabs_is_among_the_earlier_ones_of_both(page: "Page", other: "Page") -> None:
    from playwright.sync_api import expect

    for each, text in ((page, "From the first tab."), (other, "From the second tab.")):
        shown(each, "speak")
        expect(each.locator("#speak").get_by_label("Voice", exact=True)).to_have_value("alloy")
        each.locator("#speak").get_by_label("Text").fill(text)
        each.locator("#speak").get_by_role("button", name="Speak", exact=True).click()
    for each in (page, other):
        expect(each.get_by_role("button", name="Play: the speech")).to_be_visible()
        shown(each, "speak")
        for words in ("from the first tab", "from the second tab"):
            expect(each.get_by_role("button", name=f"Listen to: {words}").first).to_be_visible()
    say(page.locator("section#speak"), "And once more.")


def test_a_model_removed_in_one_tab_says_so_in_the_other_and_is_gone(
    page: "Page", other: "Page", complaints: Complaints, server: Server, bundled_gguf: Path
) -> None:
    from playwright.sync_api import expect

    complaints.expected = ["404"]
    (server.folder / "models" / "shared.gguf").write_bytes(bundled_gguf.read_bytes())
    for each in (page, other):
        shown(each, "models")
        expect(each.get_by_role("button", name="Remove shared")).to_be_visible()
    for each in (page, other):
        each.bring_to_front()
        each.get_by_role("button", name="Remove shared").click()
        each.get_by_role("button", name="Remove it").click()
        expect(each.get_by_role("button", name="Remove shared")).to_have_count(0)
    expect(other.get_by_role("alert")).to_contain_text("shared")


def test_a_model_loaded_in_one_tab_is_unloaded_in_the_other(page: "Page", other: "Page") -> None:
    from playwright.sync_api import expect

    name = "smollm2-135m-instruct"
    for each in (page, other):
        shown(each, "models")
    page.get_by_role("button", name=f"Unload {name}").or_(
        page.get_by_role("button", name=f"Load {name}")
    ).wait_for()
    for each, before, after in ((page, "Load", "Unload"), (other, "Unload", "Load")):
        shown(each, "models")
        button = each.get_by_role("button", name=f"{before} {name}", exact=True)
        if each is other or button.count():
            button.click()
        expect(each.get_by_role("button", name=f"{after} {name}", exact=True)).to_be_visible()
    # What the first tab shows is old by now; its button does what it says all the same.
    page.bring_to_front()
    page.get_by_role("button", name=f"Unload {name}").click()
    expect(page.get_by_role("button", name=f"Load {name}", exact=True)).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)
