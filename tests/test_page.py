"""The page's frame: how it is sent, its tabs, what holds for each of them."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from engine_room.page import HEADERS
from tests.browser import SIZES, TABS, Complaints, screenshot, serious_findings
from tests.conftest import PROJECT_DIR, Server

if TYPE_CHECKING:
    from playwright.sync_api import Page

PAGE_DIR = PROJECT_DIR / "page"
OURS = sorted(path for path in PAGE_DIR.iterdir() if path.suffix == ".js")
each_tab = pytest.mark.parametrize("tab", TABS)


@pytest.mark.parametrize("path", ["/", "/page/app.js", "/page/style.css", "/page/vendor/purify.js"])
def test_the_page_comes_with_a_policy_that_lets_nothing_strange_in(
    server: Server, path: str
) -> None:
    with server.http() as http:
        answer = http.get(path)
        assert answer.status_code == 200
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS
        assert "unsafe" not in answer.headers["content-security-policy"]
        again = http.get(path, headers={"If-None-Match": answer.headers["etag"]})
        assert again.status_code == 304


def test_scripts_have_a_type_that_browsers_run(server: Server) -> None:
    with server.http() as http:
        assert http.get("/page/app.js").headers["content-type"].startswith("text/javascript")


@pytest.mark.parametrize(
    "path", ["/page/nothing.js", "/page/../openai_api.py", "/page/%2e%2e/.env"]
)
def test_what_is_no_file_of_the_page_is_404_in_the_error_shape(server: Server, path: str) -> None:
    with server.http() as http:
        answer = http.get(path)
        assert answer.status_code == 404
        assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("path", ["/", "/page/app.js", "/page/style.css"])
def test_the_page_comes_packed(server: Server, path: str) -> None:
    with server.http() as http:
        assert http.get(path).headers["content-encoding"] == "gzip"


def test_the_page_weighs_little_on_its_way_to_the_browser(server: Server) -> None:
    kinds = (".html", ".css", ".js", ".svg")
    files = [path.relative_to(PAGE_DIR) for path in PAGE_DIR.rglob("*") if path.suffix in kinds]
    num_bytes = 0
    with server.http() as http:
        for file in files:
            with http.stream("GET", f"/page/{file.as_posix()}") as answer:
                num_bytes += sum(map(len, answer.iter_raw()))
    assert 50_000 < num_bytes <= 150_000


def test_every_library_in_the_page_has_its_licence_beside_it_and_its_version_in_the_notice() -> (
    None
):
    notice = (PROJECT_DIR / "NOTICE.md").read_text("utf-8")
    for folder in (PAGE_DIR / "vendor", PROJECT_DIR / "tests" / "vendor"):
        for library in folder.glob("*.js"):
            name = library.name.split(".")[0]
            version = re.search(
                r"\d+\.\d+\.\d+", (folder / f"LICENSE-{name}.txt").read_text("utf-8")
            )
            assert version
            assert version[0] in notice


@pytest.mark.parametrize("module", OURS, ids=lambda path: path.name)
def test_the_pages_modules_are_short_say_what_they_are_and_write_no_html(module: Path) -> None:
    text = module.read_text("utf-8")
    assert text.startswith("// ")
    assert len(text.splitlines()) < 400
    dangerous = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function"
    assert re.findall(dangerous, text) == []
    # snippets.js only writes it down, for programs of others.
    assert module.name in ("api.js", "snippets.js") or not re.search(r"\bfetch\(", text)


@each_tab
def test_a_tab_is_opened_by_a_click_and_by_its_address(
    page: "Page", open_page: Callable[..., "Page"], tab: str
) -> None:
    from playwright.sync_api import expect

    page.locator(f"#tab-{tab}").click()
    expect(page.locator(f"section#{tab} h1")).to_be_visible()
    assert page.url.endswith(f"#{tab}") or tab == "talk"
    other = open_page(f"/#{tab}")
    expect(other.locator(f"section#{tab} h1")).to_be_visible()
    assert other.locator("section[role=tabpanel]:visible").count() == 1


def test_arrow_keys_go_from_tab_to_tab(page: "Page") -> None:
    from playwright.sync_api import expect

    page.locator("#tab-talk").focus()
    for key, tab in [("ArrowRight", "speak"), ("End", "status"), ("ArrowRight", "talk")]:
        page.keyboard.press(key)
        expect(page.locator(f"#tab-{tab}")).to_be_focused()
        expect(page.locator(f"#tab-{tab}")).to_have_attribute("aria-selected", "true")
        expect(page.locator(f"section#{tab}")).to_be_visible()


@each_tab
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_tab_fits_its_screen_and_everyone_can_use_it(
    open_page: Callable[..., "Page"], tab: str, size: str, scheme: str
) -> None:
    from playwright.sync_api import expect

    width, height = SIZES[size]
    page = open_page(f"/#{tab}", viewport={"width": width, "height": height}, color_scheme=scheme)
    expect(page.locator(f"section#{tab} h1")).to_be_visible()
    page.wait_for_load_state("networkidle")
    screenshot(page, f"{tab}-{size}-{scheme}")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert serious_findings(page) == []


# Chromium's own count: how much of the screen moved, and how far. The field calls less than 0.1 good.
SHIFTS = """
window.moved = 0;
new PerformanceObserver((list) => {
  for (const each of list.getEntries()) window.moved += each.value;
}).observe({ type: "layout-shift", buffered: true });
"""


@each_tab
@pytest.mark.parametrize("size", SIZES)
def test_nothing_that_is_shown_moves_while_the_rest_of_a_tab_comes(
    open_page: Callable[..., "Page"], tab: str, size: str
) -> None:
    width, height = SIZES[size]
    page = open_page(f"/#{tab}", viewport={"width": width, "height": height})
    page.evaluate(SHIFTS)
    page.wait_for_load_state("networkidle")
    assert page.evaluate("window.moved") < 0.1


def test_a_part_that_cannot_be_loaded_says_so(page: "Page", complaints: Complaints) -> None:
    from playwright.sync_api import expect

    complaints.expected = ["ERR_FAILED", "Failed to fetch dynamically"]
    page.route("**/page/models.js", lambda route: route.abort())
    page.locator("#tab-models").click()
    expect(page.locator("section#models")).to_contain_text("could not be loaded")
