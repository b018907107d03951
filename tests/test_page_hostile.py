"""Texts, files, names and answers that nobody wants: the page says what is wrong, and goes on."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser import Complaints
from tests.conftest import Server
from tests.test_page_speak import say
from tests.test_page_talk import send
from tests.test_page_transcribe import write_down

if TYPE_CHECKING:
    from playwright.sync_api import Page

NAMES = {
    "html": '"><img src=x onerror=window.hacked=1>',
    "right-to-left": "مرحبا بالعالم",
    "turned": "\u202egnp.exe\u202d",
    "emoji": "👩‍👩‍👧‍👦🔥",
    "long": "x" * 200,
    "template": "${window.hacked=1}{{hacked}}%00",
}
each_name = pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
SIGNS = "a'\"<b>;%00 &amp; \u202e مرحبا 😀"
STRANGE = "The server gave an answer that this page does not understand."


@pytest.fixture(scope="module")
def clip(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Somebody greets, in a file of a strange name."""
    path = tmp_path_factory.mktemp("clips") / f"{SIGNS}.wav"
    with server.http() as http:
        body = {"input": "Hello there. How do you do today?", "response_format": "wav"}
        path.write_bytes(http.post("/v1/audio/speech", json=body).raise_for_status().content)
    return path


def is_untouched(page: "Page") -> bool:
    """Whether nothing strange was run or drawn, and all fits."""
    width = "document.documentElement.scrollWidth <= innerWidth"
    quiet = page.evaluate(f"window.hacked === undefined && {width}")
    return bool(quiet) and page.locator("img").count() == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("word " * 40_000, "input has 200,000 characters; at most 20,000 are spoken at once"),
        ("👩‍👩‍👧‍👦🔥😀", "nothing in it that can be spoken"),
        (NAMES["right-to-left"], "speaks English only"),
        (NAMES["html"], "nothing in it that can be spoken"),
    ],
    ids=["200 kB", "emoji", "right-to-left", "html"],
)
def test_a_text_that_cannot_be_spoken_is_refused_in_plain_words(
    page: "Page", complaints: Complaints, text: str, said: str
) -> None:
    from playwright.sync_api import expect

    complaints.expected = ["400"]
    page.locator("#tab-speak").click()
    speak = page.locator("section#speak")
    page.evaluate("text => navigator.clipboard.writeText(text)", text)
    speak.get_by_label("Text").focus()
    page.keyboard.press("Control+A")
    page.keyboard.press("Control+V")
    expect(speak.get_by_label("Text")).to_have_value(text)
    speak.get_by_role("button", name="Speak", exact=True).click()
    expect(speak.get_by_role("alert")).to_contain_text(said)
    assert is_untouched(page)
    say(speak, "And this can be.")
    expect(speak.get_by_role("alert")).to_have_count(0)


@each_name
def test_names_of_voices_models_and_speech_are_drawn_as_text(page: "Page", name: str) -> None:
    from playwright.sync_api import expect

    voice = {"id": name, "name": name, "description": name, "type": "cloned"}
    speech = {"id": "a.wav", "words": name, "voice": name, "format": "wav"}
    model = {"id": name, "kind": "chat", "size_bytes": 1, "good_at": name, "licence": name}
    offers = {"data": [model | {"fits": True}], "here": [model], "free_bytes": 1}
    answers = {
        "audio/voices": {"data": [voice]},
        "audio/speech/kept": {"data": [speech | {"created": 1, "size_bytes": 1}]},
        "models/offers": offers,
    }
    for path in answers:
        page.route(
            f"**/v1/{path}",
            lambda route: route.fulfill(json=answers[route.request.url.split("/v1/")[1]]),
        )
    page.locator("#tab-speak").click()
    page.locator("#speak").get_by_label("Voice", exact=True).select_option(name)
    expect(page.locator("#speak").get_by_text(name, exact=True).last).to_be_visible()
    assert is_untouched(page)
    page.locator("#tab-voices").click()
    page.get_by_role("button", name=f"Delete {name}", exact=True).click()
    expect(page.get_by_role("heading", name=f"Delete {name}?", exact=True)).to_be_visible()
    assert is_untouched(page)
    page.keyboard.press("Escape")
    page.locator("#tab-models").click()
    page.get_by_role("button", name=f"Remove {name}", exact=True).click()
    expect(page.get_by_role("heading", name=f"Remove {name}?", exact=True)).to_be_visible()
    assert is_untouched(page)


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "empty"), (b"This is a text.", "not audio")], ids=["empty", "text"]
)
def test_a_file_that_is_no_sound_is_refused_in_plain_words_and_the_next_is_taken(
    page: "Page", complaints: Complaints, clip: Path, tmp_path: Path, content: bytes, said: str
) -> None:
    from playwright.sync_api import expect

    complaints.expected = ["400"]
    file = tmp_path / "speech.wav"
    file.write_bytes(content)
    page.locator("#tab-voices").click()
    voices = page.locator("section#voices")
    voices.get_by_text("Make a voice of your own").click()
    voices.locator("input[type=file]").set_input_files(file)
    voices.get_by_label("This person agrees").check()
    voices.get_by_role("button", name="Make the voice").click()
    expect(voices.get_by_role("alert")).to_contain_text(said)
    page.locator("#tab-transcribe").click()
    transcribe = page.locator("section#transcribe")
    transcribe.locator("input[type=file]").set_input_files(file)
    expect(transcribe.get_by_role("alert")).to_contain_text(said)
    write_down(transcribe, clip)
    expect(transcribe.get_by_role("heading", level=2)).to_have_text(clip.name)
    with page.expect_download() as saving:
        transcribe.get_by_role("button", name="txt").click()
    assert saving.value.suggested_filename.endswith(".txt")
    assert is_untouched(page)


def test_a_name_that_no_voice_can_have_is_refused_in_plain_words(
    page: "Page", complaints: Complaints, clip: Path
) -> None:
    from playwright.sync_api import expect

    complaints.expected = ["400"]
    page.locator("#tab-voices").click()
    voices = page.locator("section#voices")
    voices.get_by_text("Make a voice of your own").click()
    voices.locator("input[type=file]").set_input_files(clip)
    voices.get_by_label("This person agrees").check()
    for name in (SIGNS, NAMES["html"], "..", "a/b"):
        voices.get_by_label("Name", exact=True).fill(name)
        voices.get_by_role("button", name="Make the voice").click()
        expect(voices.get_by_role("alert")).to_contain_text("A name has 1 to 80 characters")
    voices.get_by_label("Name", exact=True).fill("   ")
    voices.get_by_role("button", name="Make the voice").click()
    expect(voices.get_by_role("alert")).to_have_text("Give the voice a name.")
    assert is_untouched(page)


@pytest.mark.parametrize("tab", ["speak", "voices", "models"])
def test_an_answer_that_is_no_json_is_said_and_tried_again(page: "Page", tab: str) -> None:
    from playwright.sync_api import expect

    path = "**/v1/models/offers" if tab == "models" else "**/v1/audio/voices"
    page.wait_for_load_state("networkidle")
    page.route(path, lambda route: route.fulfill(body="<h1>Hello</h1>", content_type="text/html"))
    page.locator(f"#tab-{tab}").click()
    section = page.locator(f"section#{tab}")
    expect(section.get_by_role("alert")).to_have_text(STRANGE)
    page.unroute(path)
    section.get_by_role("button", name="Try again").click()
    expect(section.get_by_role("alert")).to_have_count(0)


def test_work_whose_answer_is_no_json_fails_in_plain_words(
    open_page: Callable[..., "Page"], server: Server, clip: Path
) -> None:
    from playwright.sync_api import expect

    page = open_page(url=server.url)
    for path in ("audio/speech", "audio/transcriptions", "chat/completions", "models/unload"):
        page.route(
            f"**/v1/{path}",
            lambda route: route.fulfill(body="data: <h1>Hello</h1>\n\n", content_type="text/html"),
        )
    send(page, "Hello")
    expect(page.get_by_role("alert")).to_contain_text(STRANGE)
    page.locator("#tab-speak").click()
    page.locator("#speak").get_by_role("button", name="Speak", exact=True).click()
    expect(page.locator("#speak").get_by_role("alert")).to_have_text("The answer is no sound.")
    page.locator("#tab-transcribe").click()
    page.locator("#transcribe input[type=file]").set_input_files(clip)
    expect(page.locator("#transcribe").get_by_role("alert")).to_have_text(STRANGE)
    page.locator("#tab-voices").click()
    page.get_by_role("button", name="Listen to Alloy").click()
    expect(page.locator("#voices .problem")).to_have_text("The answer is no sound.")
    page.get_by_text("Make a voice of your own").click()
    page.locator("#voices input[type=file]").set_input_files(clip)
    page.get_by_label("Name", exact=True).fill("Never made")
    page.get_by_label("This person agrees").check()
    page.route("**/v1/audio/voices", lambda route: route.fulfill(body="<h1>Hello</h1>"))
    page.get_by_role("button", name="Make the voice").click()
    expect(page.locator("#voices").get_by_role("alert").first).to_have_text(STRANGE)
