"""A real browser on the real server, for the tests of the page."""

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import PROJECT_DIR, Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

SCREENSHOTS = PROJECT_DIR / "tests" / "screenshots"
AXE = PROJECT_DIR / "tests" / "vendor" / "axe.min.js"
SPOKEN = "Hello there. What is the capital of France?"  # what the microphone hears, again and again
TABS = ("talk", "speak", "voices", "transcribe", "models", "status")
SIZES = {"phone": (390, 844), "desk": (1280, 800)}
PATIENCE_MS = 20_000  # of a machine that does other things too
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    # A name that is not this machine: pages from there get no microphone.
    "--host-resolver-rules=MAP elsewhere.test 127.0.0.1",
]


@dataclass
class Complaints:
    """What the browser's console says against a page; a test names what it expects, as a pattern."""

    found: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    @property
    def unexpected(self) -> list[str]:
        """Those that no test has named."""
        return [text for text in self.found if not any(re.search(e, text) for e in self.expected)]

    def watch(self, page: "Page") -> None:
        """Collect errors and warnings of the console (the policy's too), and exceptions nobody caught."""

        def said(message: "ConsoleMessage") -> None:
            if message.type in ("error", "warning"):
                self.found.append(f"{message.type}: {message.text} {message.location['url']}")

        page.on("console", said)
        page.on("pageerror", lambda error: self.found.append(f"uncaught: {error}"))


# Of a module: as long as Playwright runs, its event loop keeps others out of this thread.
@pytest.fixture(scope="module")
def browser(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator["Browser"]:
    """Chromium, whose microphone hears the default voice say SPOKEN."""
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next((found for name in names if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("there is no chromium on the PATH (Debian: apt install chromium)")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE_MS)
    heard = tmp_path_factory.mktemp("microphone") / "heard.wav"
    with server.http() as http:
        body = {"input": SPOKEN, "response_format": "wav", "sample_rate": 48_000}
        heard.write_bytes(http.post("/v1/audio/speech", json=body).raise_for_status().content)
    microphone = f"--use-file-for-fake-audio-capture={heard}"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=[*FLAGS, microphone], headless=True
        )
        yield browser
        browser.close()


@pytest.fixture
def complaints() -> Iterator[Complaints]:
    """What the console says; nothing but what the test expects."""
    complaints = Complaints()
    yield complaints
    assert complaints.unexpected == []


@pytest.fixture
def open_page(
    browser: "Browser", server: Server, complaints: Complaints
) -> Iterator[Callable[..., "Page"]]:
    """Opens pages, each in a browser of its own (nothing kept) with these options of a context; `script`
    is run before those of the page."""
    contexts = []

    def opened(path: str = "/", url: str = server.url, script: str = "", **options: Any) -> "Page":
        context = browser.new_context(**options)
        context.add_init_script(script)
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        complaints.watch(page)
        page.goto(url + path)
        return page

    yield opened
    for context in contexts:
        context.close()


@pytest.fixture
def page(open_page: Callable[..., "Page"]) -> "Page":
    """The page of the server that all share, on a desk."""
    return open_page(permissions=["microphone", "clipboard-read", "clipboard-write"])


def serious_findings(page: "Page") -> list[str]:
    """What axe-core finds that keeps people from using what is shown now."""
    page.evaluate(AXE.read_text("utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{each['id']}: {each['help']}: {node['target']} {node['failureSummary']}"
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]


def screenshot(page: "Page", name: str) -> Path:
    """Keep a picture of what is shown, to be looked at."""
    path = SCREENSHOTS / f"{name}.png"
    page.screenshot(path=path)
    return path
