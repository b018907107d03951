"""The page without a mouse: each tab's main job by keys alone, with a focus that is seen and never lost."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser import TABS, Complaints
from tests.conftest import Server
from tests.test_page_talk import DONE, chunks, last_reply, says, written

if TYPE_CHECKING:
    from playwright.sync_api import Page

READ = "The north wind and the sun were arguing which of them was the stronger, again and again."
FAR = 90  # presses of Tab after which a control counts as out of reach
# What is drawn when a tab has asked its server.
READY = {
    "talk": "option",
    "speak": "optgroup, .problem",
    "voices": "article, .problem",
    "transcribe": "select",
    "models": "li, .problem",
    "status": ".part",
}
FOCUS = """() => {
  const focused = document.activeElement;
  const label = focused.labels?.[0];
  const words = label?.querySelector("strong") ?? label ?? focused;
  const name = focused.getAttribute("aria-label") ?? words.textContent.trim();
  const isOutlined = (each) => each && getComputedStyle(each).outlineStyle !== "none";
  // The drop field and the composer show it for what is in them.
  const isOther = isOutlined(focused.closest(".drop")) || focused.matches(".composer textarea");
  return { name: focused === document.body ? null : name, isSeen: isOther || isOutlined(focused) };
}"""


@pytest.fixture(scope="module")
def clip(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Somebody reads for some seconds."""
    path = tmp_path_factory.mktemp("clips") / "reading.wav"
    with server.http() as http:
        body = {"input": READ, "voice": "sage", "response_format": "wav"}
        path.write_bytes(http.post("/v1/audio/speech", json=body).raise_for_status().content)
    return path


def opened(page: "Page", tab: str) -> "Page":
    """A tab, by the arrow keys."""
    from playwright.sync_api import expect

    page.wait_for_load_state("networkidle")
    page.locator("[role=tab][tabindex='0']").focus()
    page.keyboard.press("Home")
    for each in TABS[1 : TABS.index(tab) + 1]:
        page.keyboard.press("ArrowRight")
        expect(page.locator(f"#tab-{each}")).to_be_focused()
    page.locator(f"section#{tab}").locator(READY[tab]).first.wait_for(state="attached")
    return page


def focused(page: "Page") -> str:
    """The name of what has the focus; it must be seen."""
    focus: dict[str, Any] = page.evaluate(FOCUS)
    assert focus["name"] is not None, "the focus is lost"
    assert focus["isSeen"], focus["name"]
    return str(focus["name"])


def go(page: "Page", name: str, key: str = "Tab") -> None:
    """Press Tab until the control with this name has the focus."""
    seen: list[str] = []
    for _ in range(FAR):
        page.keyboard.press(key)
        if page.evaluate("document.activeElement === document.body"):
            continue  # past the end: the browser's own buttons come here
        seen.append(focused(page))
        if seen[-1] == name:
            return
    pytest.fail(f"{name} is out of reach among {seen}")


def comes_to(page: "Page", name: str) -> None:
    """Wait until the focus is on the control with this name."""
    has = f"(name) => ({FOCUS})().name === name"
    page.wait_for_function(has, arg=name)
    assert focused(page) == name


def stays(page: "Page") -> str:
    """Wait until the focus is anywhere; what has it."""
    page.wait_for_function("() => document.activeElement !== document.body")
    return focused(page)


def choose(page: "Page", clip: Path) -> None:
    """Choose a file by the keys."""
    with page.expect_file_chooser() as choosing:
        go(page, "Drop a recording here, or choose one")
        page.keyboard.press("Enter")
    choosing.value.set_files(clip)


@pytest.mark.parametrize("tab", TABS)
def test_tab_goes_through_all_of_a_tab_and_the_focus_is_always_seen(page: "Page", tab: str) -> None:
    opened(page, tab)
    section = "document.activeElement.closest('section[role=tabpanel]')?.id"
    names: list[str] = []
    page.keyboard.press("Tab")
    while page.evaluate(section) == tab and len(names) < FAR:
        names.append(focused(page))
        page.keyboard.press("Tab")
    assert len(names) > 4


def test_a_conversation_is_led_by_keys(page: "Page") -> None:
    from playwright.sync_api import expect

    for number, text in enumerate(("First", "Second"), 1):
        says(page, chunks("A reply.") + DONE)
        comes_to(page, "Your message")
        page.keyboard.type(text)
        page.keyboard.press("Enter")
        written(page)
        expect(page.locator(".talk-list-name")).to_have_count(number)
        go(page, "New conversation")
        page.keyboard.press("Enter")
    go(page, "Settings of replies", "Shift+Tab")
    page.keyboard.press("Enter")
    comes_to(page, "Close without a change")
    page.keyboard.press("Escape")
    comes_to(page, "Settings of replies")
    go(page, "Second")
    page.keyboard.press("Enter")
    comes_to(page, "Your message")
    go(page, "Write the reply anew", "Shift+Tab")
    page.keyboard.press("Enter")
    comes_to(page, "Your message")
    written(page)
    assert "A reply." in last_reply(page).inner_text()
    go(page, "Change the message", "Shift+Tab")
    page.keyboard.press("Enter")
    comes_to(page, "Your message")  # a field of the same name
    page.keyboard.press("Escape")
    comes_to(page, "Change the message")


def test_conversations_are_renamed_and_deleted_by_keys(page: "Page") -> None:
    from playwright.sync_api import expect

    for text in ("First", "Second", "Third"):
        says(page, chunks("A reply.") + DONE)
        comes_to(page, "Your message")
        page.keyboard.type(text)
        page.keyboard.press("Enter")
        written(page)
        go(page, "New conversation")
        page.keyboard.press("Enter")
    go(page, "Rename: Second")
    page.keyboard.press("Enter")
    comes_to(page, "Name of the conversation")
    page.keyboard.type("Two")
    page.keyboard.press("Enter")
    comes_to(page, "Two")
    go(page, "Rename: Two")
    page.keyboard.press("Enter")
    comes_to(page, "Name of the conversation")
    page.keyboard.press("Escape")
    comes_to(page, "Two")
    go(page, "Delete: Two")
    page.keyboard.press("Enter")
    comes_to(page, "Third")  # it was the next one
    go(page, "Undo")
    page.keyboard.press("Enter")
    stays(page)
    expect(page.locator(".talk-list-name")).to_have_count(3)


def test_a_text_is_spoken_by_keys(page: "Page") -> None:
    from playwright.sync_api import expect

    opened(page, "speak")
    go(page, "Text")
    page.keyboard.press("Control+A")
    page.keyboard.type("A short one.")
    go(page, "Voice")
    page.keyboard.press("ArrowDown")
    go(page, "Speak")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Play: the speech")).to_be_visible()
    comes_to(page, "Speak")
    go(page, "Play: the speech")
    page.keyboard.press("Space")
    go(page, "Place in: the speech")
    page.keyboard.press("End")
    go(page, "Save as mp3")
    with page.expect_download():
        page.keyboard.press("Enter")
    comes_to(page, "Save as mp3")
    go(page, "Listen to: a short one")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="a short one")).to_be_visible()


@pytest.mark.parametrize(
    ("tab", "path"),
    [("speak", "audio/voices"), ("voices", "audio/voices"), ("models", "models/offers")],
)
def test_what_could_not_be_read_is_tried_again_by_keys(
    page: "Page", complaints: Complaints, tab: str, path: str
) -> None:
    from playwright.sync_api import expect

    complaints.expected = ["ERR_FAILED"]
    page.route(f"**/v1/{path}", lambda route: route.abort())
    opened(page, tab)
    go(page, "Try again")
    page.unroute(f"**/v1/{path}")
    page.keyboard.press("Enter")
    expect(page.locator(f"#{tab}").get_by_role("alert")).to_have_count(0)
    stays(page)


def test_a_voice_is_made_and_deleted_by_keys(page: "Page", server: Server, clip: Path) -> None:
    from playwright.sync_api import expect

    opened(page, "voices")
    go(page, "Make a voice of your own")
    page.keyboard.press("Enter")
    choose(page, clip)
    go(page, "End")
    page.keyboard.press("ArrowLeft")
    go(page, "Name")
    page.keyboard.press("Control+A")
    page.keyboard.type("Keyed")
    go(page, "This person agrees that I make a voice of this recording")
    page.keyboard.press("Space")
    go(page, "Make the voice")
    page.keyboard.press("Enter")
    expect(page.get_by_role("article", name="Keyed")).to_be_visible()
    stays(page)
    go(page, "Listen to Keyed")
    page.keyboard.press("Enter")
    comes_to(page, "Stop Keyed")
    page.keyboard.press("Enter")
    go(page, "About Keyed")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    comes_to(page, "About Keyed")
    go(page, "Delete Keyed")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    comes_to(page, "Delete Keyed")
    page.keyboard.press("Enter")
    go(page, "Delete it") if focused(page) != "Delete it" else None
    page.keyboard.press("Enter")
    comes_to(page, "Undo")
    page.keyboard.press("Enter")
    stays(page)
    with server.http() as http:
        http.delete("/v1/audio/voices/Keyed")


def test_a_recording_is_written_down_by_keys(page: "Page", clip: Path) -> None:
    from playwright.sync_api import expect

    opened(page, "transcribe")
    choose(page, clip)
    go(page, "Stop")
    expect(page.locator("#transcribe").get_by_role("status").first).to_contain_text("words.")
    comes_to(page, "Again")
    go(page, "Play from 0:00")
    page.keyboard.press("Enter")
    expect(page.locator(".word.is-lit")).to_have_count(1)
    go(page, "txt")
    with page.expect_download():
        page.keyboard.press("Enter")


def test_a_model_is_unloaded_loaded_and_removed_by_keys(
    page: "Page", server: Server, bundled_gguf: Path
) -> None:
    from playwright.sync_api import expect

    (server.folder / "models" / "keyed.gguf").write_bytes(bundled_gguf.read_bytes())
    opened(page, "models")
    go(page, "Load keyed")
    page.keyboard.press("Enter")
    comes_to(page, "Unload keyed")
    page.keyboard.press("Enter")
    comes_to(page, "Load keyed")
    go(page, "Remove keyed")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    comes_to(page, "Remove keyed")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    go(page, "Remove it") if focused(page) != "Remove it" else None
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Remove keyed")).to_have_count(0)
    stays(page)
    assert page.evaluate("document.activeElement.closest('li') !== null")


def test_the_status_is_used_by_keys(page: "Page") -> None:
    from playwright.sync_api import expect

    opened(page, "status")
    go(page, "Copy the base URL")
    page.keyboard.press("Enter")
    go(page, "Open WebUI")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Open Admin Panel")).to_be_visible()
    go(page, "API key")
    page.keyboard.press("Enter")
    expect(page.get_by_text("none is needed").first).to_be_visible()
    go(page, "Close this message")
    page.keyboard.press("Enter")
    assert stays(page) == "Use this key"
