"""What Lighthouse says of the page: each tab on a phone and on a desk, in points of 100, and what costs them.

    .venv/bin/python -m bench.lighthouse

Needs a Chromium and npx (Node 18.20 or later) on the PATH; npx fetches Lighthouse from the npm registry.
Takes some four minutes. Its phone is slow on purpose (a fourth of this machine's pace, 1.6 Mbit/s), by a
model and not by the clock.
"""

import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.startup import Server, fresh_server
from tests.browser import TABS

LIGHTHOUSE = "lighthouse@12.8.2"  # the last one for Node 20, which Debian and Ubuntu have
FORMS: dict[str, list[str]] = {"phone": [], "desk": ["--preset=desktop"]}
CATEGORIES = ("performance", "accessibility", "best-practices", "seo")


def needed(*names: str) -> str:
    """The first of these programs that is on the PATH; ends with words where there is none."""
    for name in names:
        if path := shutil.which(name):
            return path
    raise SystemExit(f"There is no {names[0]} on the PATH.")


def report(npx: str, chromium: str, url: str, options: list[str]) -> dict[str, Any]:
    """Lighthouse's report. Raises RuntimeError with its words where it has none."""
    flags = "--chrome-flags=--headless=new --no-sandbox"  # for root and containers
    command = [npx, "--yes", LIGHTHOUSE, url, flags, *options]
    command += ["--output=json", "--quiet", "--no-enable-error-reporting"]
    done = subprocess.run(
        command, env={**os.environ, "CHROME_PATH": chromium}, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def faults(told: dict[str, Any]) -> list[str]:
    """The audits that cost points, each with its figure or the places in the page."""
    lines = []
    for name in CATEGORIES:
        for weighed in told["categories"][name]["auditRefs"]:
            audit = told["audits"][weighed["id"]]
            if not weighed["weight"] or audit["score"] in (None, 1):
                continue
            places = audit.get("details", {}).get("items", [])
            where = [place["node"]["selector"] for place in places if "node" in place]
            shown = ", ".join(where) or audit.get("displayValue", "")
            lines.append(f"{name}: {audit['id']} {audit['score']:.2f} {shown}")
    return lines


def ready(server: Server) -> None:
    """Wait until all parts of a fresh server are there."""
    while json.loads(server.whole("/health"))["status"] != "ok":
        time.sleep(0.05)


def main() -> None:
    """Look at every tab, and print."""
    npx = needed("npx")
    chromium = needed("chromium", "chromium-browser", "google-chrome")
    found: list[str] = []
    print(f"{'':20}" + "".join(f"{name:>16}" for name in CATEGORIES))
    with tempfile.TemporaryDirectory() as folder, fresh_server(Path(folder)) as server:
        ready(server)
        for tab in TABS:
            for form, options in FORMS.items():
                told = report(npx, chromium, f"http://127.0.0.1:{server.port}/#{tab}", options)
                scores = [told["categories"][name]["score"] for name in CATEGORIES]
                # None: an audit failed to run.
                points = ["–" if score is None else f"{100 * score:.0f}" for score in scores]
                print(f"{f'{tab}, {form}':20}" + "".join(f"{each:>16}" for each in points))
                found += [f"{tab}, {form}: {fault}" for fault in faults(told)]
    print("\nWhat costs points:", *(found or ["nothing"]), sep="\n")


if __name__ == "__main__":
    main()
