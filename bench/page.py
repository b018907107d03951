"""The page in Chromium: its weight, how soon it is seen, and how soon a reply is heard after Enter.

    .venv/bin/python -m bench.page [--runs 10]

Each opening is of a browser that has nothing kept. A reply is heard when its first sample is due at the
loudspeaker by the browser's clock, the replies are the bundled model's to different questions. Prints the
median and the worst of the runs.
"""

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, sync_playwright

from bench.startup import Server, fresh_server
from tests.browser import FLAGS

QUESTIONS = (
    "How warm is the sun?",
    "How do I boil an egg?",
    "Tell me about the sea.",
    "Why is the sky blue?",
    "What should I read next?",
    "Who wrote Faust?",
    "Is a tomato a fruit?",
    "How far away is the moon?",
    "Give me a name for a cat.",
    "What can I cook with rice?",
)
# Notes when the first sound is due, in ms on the page's clock.
LISTEN = """
const start = AudioBufferSourceNode.prototype.start;
AudioBufferSourceNode.prototype.start = function (at) {
  const { context } = this;
  const wait = Math.max(0, at - context.currentTime) + context.baseLatency + (context.outputLatency || 0);
  window.heardAt ??= performance.now() + wait * 1000;
  return start.call(this, at);
};
"""
PAINT = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime"


@contextmanager
def server_and_browser() -> Iterator[tuple[Server, Browser]]:
    """A fresh server that is ready, and a Chromium."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        raise SystemExit("There is no chromium on the PATH.")
    with (
        tempfile.TemporaryDirectory() as folder,
        fresh_server(Path(folder)) as server,
        sync_playwright() as playwright,
    ):
        while json.loads(server.whole("/health"))["status"] != "ok":
            time.sleep(0.05)
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield server, browser
        browser.close()


def opened(browser: Browser, server: Server) -> tuple[float, int]:
    """Milliseconds to the first paint, and the bytes that came for it."""
    context = browser.new_context()
    page = context.new_page()
    network = context.new_cdp_session(page)
    network.send("Network.enable")
    sizes: list[int] = []
    network.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    page.goto(f"http://127.0.0.1:{server.port}/", wait_until="networkidle")
    paint_ms = page.wait_for_function(PAINT).json_value()
    context.close()
    return float(paint_ms), sum(sizes)


def heard_after_s(context: BrowserContext, server: Server, question: str) -> float:
    """Seconds from Enter to the first sound of the reply."""
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{server.port}/")
    # Its likeliest words: one drawn by chance may be in a language that this voice does not speak.
    page.evaluate("localStorage.setItem('choice-option-temperature', '0')")
    page.get_by_label("Voice of the replies").select_option("alloy")
    page.get_by_label("Your message").fill(question)
    # On the page's clock, which the time between this program and the browser is no part of.
    page.evaluate("addEventListener('keydown', () => (window.asked = performance.now()), true)")
    page.keyboard.press("Enter")
    seconds = page.wait_for_function(
        "() => window.heardAt && (heardAt - asked) / 1000"
    ).json_value()
    page.close()
    return float(seconds)


def told(name: str, figures: Sequence[float], unit: str) -> None:
    """Print the median and the worst."""
    print(f"{name:40} {statistics.median(figures):8.2f} {max(figures):8.2f} {unit}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=10)
    runs = parser.parse_args().runs
    with server_and_browser() as (server, browser):
        openings = [opened(browser, server) for _ in range(runs)]
        context = browser.new_context()
        context.add_init_script(LISTEN)
        questions = (QUESTIONS * runs)[:runs]
        heard = [heard_after_s(context, server, question) for question in questions]
    print(f"{'':40} {'median':>8} {'worst':>8}")
    told("opening, over the wire", [num_bytes / 1000 for _, num_bytes in openings], "kB")
    told("first paint", [paint_ms for paint_ms, _ in openings], "ms")
    told("Enter to the first sound of a reply", heard, "s")


if __name__ == "__main__":
    main()
