"""A second click, on everything that the page has: it does no harm, and nothing is asked for twice."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from engine_room.catalogue import BUNDLED_FILE, BUNDLED_PACKAGE
from engine_room.packages import package_dir
from tests.browser import TABS, Complaints
from tests.conftest import Server, running_server
from tests.local_hub import Repo, local_hub
from tests.test_page_speak import say
from tests.test_page_talk import DONE, chunks, last_reply, says, send, written
from tests.test_page_transcribe import write_down
from tests.test_page_voices import made

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

# What is not clicked, as patterns of names, and why.
LEFT_OUT = {
    "Import$|Attach an image": "opens the system's window for files, or says that it will not",
    "Fetch xtts_v2 under Models": "leads to another tab",
    "Hold to talk": "is held, not clicked: see the tests of Talk",
}
# What asks for more than one thing, and why.
ASKS_OFTEN = {"Read the reply aloud": "a reply is spoken piece by piece"}
# What takes away what other buttons need is clicked last.
LAST = re.compile("Delete|Remove|Cancel|New conversation|Close|Keep it|Undo|Stop")
DELETED = re.compile("DELETE")
READ = "The north wind and the sun were arguing which of them was the stronger, again and again."

# Keeps what the page asks its server for, and counts what is not answered yet. `controls()` are those that
# can be clicked now, by name: while a dialog is open, only its own. Of a long list two rows stand for all.
WATCH = """
window.asked = [];
window.numPending = 0;
const real = window.fetch;
window.fetch = async (path, options = {}) => {
  window.asked.push(`${options.method ?? "GET"} ${path}`);
  window.numPending += 1;
  try {
    return await real(path, options);
  } finally {
    window.numPending -= 1;
  }
};
const WANTED = "button, summary, select, a[href], input[type=checkbox], [role=slider]";
const ROWS = "li:nth-child(n+3) *, article.card:nth-child(n+3) *";
const nameOf = (each) => each.getAttribute("aria-label") ?? (each.labels?.[0] ?? each).textContent.trim();
window.controls = () => {
  const places = document.querySelector("dialog[open]") ? "dialog[open]" : "section:not([hidden]), #toasts";
  const all = [...document.querySelectorAll(places)].flatMap((place) => [...place.querySelectorAll(WANTED)]);
  const usable = all.filter((each) => each.checkVisibility({ visibilityProperty: true }) && !each.disabled);
  return usable.filter((each) => !each.matches(ROWS)).map((each) => [nameOf(each), each]);
};
"""
PLACE = """(wanted) => {
  const [, element] = controls().find(([name]) => name === wanted);
  element.scrollIntoView({ block: "center" });
  const { x, y, width, height } = element.getClientRects()[0];
  window.asked.length = 0;
  return [x + width / 2, y + height / 2];
}"""


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a hub that has one model."""
    folder = tmp_path_factory.mktemp("clicks")
    package = package_dir(BUNDLED_PACKAGE)
    assert package
    model = Repo({"mine.Q4_1.gguf": (package / BUNDLED_FILE).read_bytes()})
    with (
        local_hub(me__mine=model) as hub,
        running_server(folder, environment={"HF_ENDPOINT": hub.url}) as server,
    ):
        yield server
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def clip(own_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Somebody reads for some seconds."""
    path = tmp_path_factory.mktemp("clips") / "reading.wav"
    with own_server.http() as http:
        body = {"input": READ, "voice": "sage", "response_format": "wav"}
        path.write_bytes(http.post("/v1/audio/speech", json=body).raise_for_status().content)
    return path


@pytest.fixture
def watched(open_page: Callable[..., "Page"], own_server: Server) -> Callable[[str], "Page"]:
    """Opens a tab whose requests are counted."""
    from playwright.sync_api import expect

    def opened(tab: str) -> "Page":
        allowed = ["microphone", "clipboard-read", "clipboard-write"]
        page = open_page(url=own_server.url, script=WATCH, permissions=allowed)
        page.locator(f"#tab-{tab}").dblclick()
        expect(page.locator(f"section#{tab} h1")).to_be_visible()
        page.wait_for_load_state("networkidle")
        return page

    return opened


def settled(page: "Page") -> None:
    """Wait until all that was asked for is answered and drawn."""
    page.wait_for_function("() => !numPending && !document.querySelector('[aria-busy=true]')")
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def click_twice(page: "Page", name: str, pace: str) -> list[str]:
    """Click twice on the same place; what the server was told to do."""
    page.mouse.move(*page.evaluate(PLACE, name))
    for count in (1, 2):
        page.mouse.down(click_count=count)
        page.mouse.up(click_count=count)
        if pace == "slow":
            settled(page)
    settled(page)
    return [each for each in page.evaluate("asked") if not each.startswith("GET ")]


def click_everything_twice(page: "Page") -> None:
    """At once, and with time between the clicks for something else to come in its place."""
    done: set[tuple[str, str]] = set()
    left_out = re.compile("|".join(LEFT_OUT))
    while True:
        names = [
            name
            for name in page.evaluate("controls().map(([name]) => name)")
            if not left_out.match(name)
        ]
        pairs = [(name, pace) for pace in ("quick", "slow") for name in names]
        left = sorted(
            set(pairs) - done, key=lambda pair: (bool(LAST.match(pair[0])), pairs.index(pair))
        )
        if left:
            done.add(left[0])
            asked = click_twice(page, *left[0])
            assert len(asked) <= 1 or left[0][0] in ASKS_OFTEN, left[0]
            assert not any(map(DELETED.match, asked)) or left[0][0] == "Remove it"
        elif page.locator("dialog[open]").count():
            page.keyboard.press("Escape")
        else:
            return


def talk(page: "Page", _clip: Path) -> None:
    says(page, chunks("Here is `code`:\n\n```\nlet x;\n```\n") + DONE)
    send(page, "Hello")
    written(page)
    assert "Here is" in last_reply(page).inner_text()


def speak(page: "Page", _clip: Path) -> None:
    say(page.locator("section#speak"), "A short one.")


def voices(page: "Page", clip: Path) -> None:
    tab = page.locator("section#voices")
    if not tab.get_by_text("Drop a recording").is_visible():
        tab.get_by_text("Make a voice of your own").click()
    made(tab, clip, f"Voice {tab.get_by_role('article').count()}")
    tab.locator("input[type=file]").set_input_files(clip)
    tab.get_by_label("Name", exact=True).fill(f"Voice {tab.get_by_role('article').count()}")


def transcribe(page: "Page", clip: Path) -> None:
    write_down(page.locator("section#transcribe"), clip)


def models(page: "Page", _clip: Path) -> None:
    from playwright.sync_api import expect

    tab = page.locator("section#models")
    tab.get_by_label("Another model").fill("me/mine")
    tab.get_by_role("button", name="Fetch it").click()
    expect(tab.get_by_role("button", name="Remove mine.Q4_1")).to_be_visible()
    settled(page)


def status(page: "Page", _clip: Path) -> None:
    from playwright.sync_api import expect

    page.get_by_role("button", name="Use this key").click()
    expect(page.get_by_text("none is needed").first).to_be_visible()


def heard(route: "Route") -> None:
    """What a model hears, without the time it takes."""
    word = {"word": " Hello", "start": 0, "end": 1}
    times = {"start": 0, "end": 1, "text": " Hello", "words": [word]}
    events: list[dict[str, object]] = [
        {"type": "transcript.text.segment", **times},
        {"type": "transcript.text.done", "text": "Hello", "languages": [{"code": "en"}]},
    ]
    body = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
    route.fulfill(body=f"{body}{DONE}", content_type="text/event-stream")


MAIN_JOBS = {each.__name__: each for each in (talk, speak, voices, transcribe, models, status)}


@pytest.mark.parametrize("state", ["fresh", "done"])
@pytest.mark.parametrize("tab", TABS)
def test_a_second_click_on_anything_does_no_harm(
    watched: Callable[[str], "Page"], complaints: Complaints, clip: Path, tab: str, state: str
) -> None:
    complaints.expected = ["404.*/v1/models/download"]  # offers that our hub does not have
    page = watched(tab)
    says(page, chunks("An idea.") + DONE)
    page.route("**/v1/audio/transcriptions", heard)
    if state == "done":
        MAIN_JOBS[tab](page, clip)
    click_everything_twice(page)
    page.unroute("**/v1/audio/transcriptions")
    MAIN_JOBS[tab](page, clip)


def test_a_double_click_deletes_one_conversation_and_not_the_one_in_its_place(
    watched: Callable[[str], "Page"],
) -> None:
    from playwright.sync_api import expect

    page = watched("talk")
    for text in ("First", "Second", "Third"):
        page.get_by_role("button", name="New conversation").click()
        says(page, chunks("A reply.") + DONE)
        send(page, text)
        written(page)
    click_twice(page, "Delete: Third", "slow")
    expect(page.locator(".talk-list-name")).to_have_text(["Second", "First"])


def test_a_double_click_on_delete_only_asks(watched: Callable[[str], "Page"], clip: Path) -> None:
    from playwright.sync_api import expect

    page = watched("voices")
    page.get_by_text("Make a voice of your own").click()
    made(page.locator("section#voices"), clip, "Kept")
    for pace in ("quick", "slow"):
        click_twice(page, "Delete Kept", pace)
        expect(page.get_by_role("dialog")).to_contain_text("Delete Kept?")
        page.keyboard.press("Escape")
