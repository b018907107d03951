"""The README's pictures of the page, from the real server with the bundled models.

    .venv/bin/python -m bench.pictures

Writes `pictures/talk.png` and `pictures/transcribe.png`. The tests keep others of their own.
"""

from playwright.sync_api import FilePayload, Page, expect

from bench.page import server_and_browser
from bench.startup import Server
from tests.browser import PATIENCE_MS
from tests.conftest import PROJECT_DIR

PICTURES = PROJECT_DIR / "pictures"
QUESTION = "What is the capital of France, and what is it known for?"
SPOKEN = (
    "Good morning! [pause:500ms] The kettle is on, the post is here, and it looks like a fine day."
)


def talk(page: Page) -> None:
    """A question and the model's own answer."""
    page.evaluate("localStorage.setItem('choice-option-temperature', '0')")
    page.get_by_label("Your message").fill(QUESTION)
    page.keyboard.press("Enter")
    reply = page.get_by_role("article", name="Reply")
    expect(reply.get_by_text("tokens/s")).to_be_visible()
    page.mouse.move(0, 0)


def transcribe(page: Page, server: Server) -> None:
    """What the default voice said, written down."""
    body = {"input": SPOKEN, "response_format": "mp3"}
    speech = b"".join(server.blocks("/v1/audio/speech", body, "application/json"))
    page.locator("#tab-transcribe").click()
    tab = page.locator("section#transcribe")
    recording: FilePayload = {
        "name": "good morning.mp3",
        "mimeType": "audio/mpeg",
        "buffer": speech,
    }
    tab.locator("input[type=file]").set_input_files(recording)
    expect(tab.get_by_role("button", name="srt")).to_be_visible()
    page.mouse.move(0, 0)


def main() -> None:
    """Take both."""
    PICTURES.mkdir(exist_ok=True)
    expect.set_options(timeout=PATIENCE_MS)
    with server_and_browser() as (server, browser):
        address = f"http://127.0.0.1:{server.port}/"
        page = browser.new_page(viewport={"width": 1120, "height": 640}, color_scheme="light")
        page.goto(address)
        talk(page)
        page.screenshot(path=PICTURES / "talk.png")
        page = browser.new_page(viewport={"width": 1120, "height": 820}, color_scheme="dark")
        page.goto(address)
        transcribe(page, server)
        page.screenshot(path=PICTURES / "transcribe.png")


if __name__ == "__main__":
    main()
