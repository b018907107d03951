"""The tab Status, in a browser: how the server is, how to connect to it, its key, what failed."""

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from tests.browser import Complaints, screenshot, serious_findings
from tests.conftest import Server, running_server

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.fixture
def status(page: "Page") -> "Page":
    """The page with the tab open."""
    page.locator("#tab-status").click()
    page.get_by_role("heading", level=1, name="All is well").wait_for()
    return page


def test_it_tells_what_is_ready_and_what_the_server_does(status: "Page", server: Server) -> None:
    from playwright.sync_api import expect

    parts = status.get_by_role("region", name="Parts").get_by_role("listitem")
    expect(parts).to_have_count(5)
    expect(parts.filter(has_text="Transcription")).to_contain_text("Ready")
    fetch = parts.filter(has_text="Cloned voices").get_by_role("link")
    expect(fetch).to_have_text("Fetch xtts_v2 under Models.")
    expect(fetch).to_have_attribute("href", "#models/xtts_v2")
    tile = status.locator(".tile")
    expect(tile.filter(has_text="Memory")).to_contain_text(re.compile("[MG]B"))
    expect(tile.filter(has_text="Waiting")).to_contain_text("0")
    with server.client() as client:
        client.completions.create(model="gpt-4", prompt="Once upon", max_tokens=20)
    expect(tile.filter(has_text="Tokens/s")).to_contain_text(re.compile(r"\d+ written"))


def test_it_lists_what_failed_as_text(status: "Page", server: Server) -> None:
    from playwright.sync_api import expect

    with server.http() as http:
        body = {"input": "Hi", "voice": '"><img src=x onerror=window.hacked=1>'}
        http.post("/v1/audio/speech", json=body)
    failures = status.get_by_role("region", name="Last failures").get_by_role("listitem")
    expect(failures.first).to_contain_text("POST /v1/audio/speech")
    expect(failures.first).to_contain_text("<img src=x onerror")
    assert status.evaluate("window.hacked") is None


def test_the_base_url_is_copied_and_each_program_has_its_steps(
    status: "Page", server: Server
) -> None:
    from playwright.sync_api import expect

    status.get_by_role("button", name="Copy the base URL").click()
    copied = "() => navigator.clipboard.readText()"
    assert status.evaluate(copied) == f"{server.url}/v1"
    for program in ("Open WebUI", "SillyTavern"):
        status.get_by_text(program, exact=True).click()
    port = server.url.rsplit(":", 1)[1]
    expect(status.get_by_text(f"http://host.docker.internal:{port}/v1")).to_be_visible()
    expect(status.get_by_text(f"endpoint {server.url}/v1/audio/speech")).to_be_visible()
    assert serious_findings(status) == []
    screenshot(status, "status-connect")


def test_a_selection_stays_while_the_numbers_change(status: "Page") -> None:
    status.get_by_role("region", name="Parts").locator(".mend").first.evaluate(
        "(each) => { window.kept = each; }"
    )
    with status.expect_response("**/health"):
        pass
    with status.expect_response("**/health"):
        pass
    assert status.evaluate("window.kept.isConnected")


def test_a_server_that_went_away_is_said_and_asked_again(
    status: "Page", complaints: Complaints
) -> None:
    from playwright.sync_api import expect

    complaints.expected = ["ERR_FAILED"]
    status.route("**/health", lambda route: route.abort())
    expect(status.get_by_role("heading", level=1)).to_have_text("The server does not answer")
    status.unroute("**/health")
    expect(status.get_by_role("heading", level=1)).to_have_text("All is well")


def test_a_server_without_any_part_says_what_would_mend_it(
    status: "Page", complaints: Complaints
) -> None:
    from playwright.sync_api import expect

    complaints.expected = ["503"]
    part = {"status": "unavailable", "reason": "No model.", "mend": "Put one there."}
    body = {"status": "unavailable", "parts": {"chat": part, "something_new": part}}
    status.route("**/health", lambda route: route.fulfill(status=503, json=body))
    expect(status.get_by_role("heading", level=1)).to_have_text("Not ready")
    expect(status.get_by_text("Put one there.").first).to_be_visible()


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a key."""
    folder = tmp_path_factory.mktemp("locked")
    with running_server(folder, environment={"OPENAI_API_KEYS": "open-sesame"}) as running:
        yield running


def test_where_a_key_is_wanted_everything_leads_to_its_field(
    open_page: Callable[..., "Page"], locked: Server, complaints: Complaints
) -> None:
    from playwright.sync_api import expect

    complaints.expected = ["401"]
    page = open_page(url=locked.url)
    field = page.get_by_label("API key")
    expect(field).to_be_focused()
    expect(page.get_by_text("Whoever started it has it.")).to_be_visible()
    assert serious_findings(page) == []
    screenshot(page, "status-key")
    field.fill("wrong")
    page.get_by_role("button", name="Use this key").click()
    expect(page.get_by_role("alert").last).to_contain_text("The server does not know this key.")
    expect(page.get_by_text("under Status")).to_have_count(0)
    field.fill("open-sesame")
    page.get_by_role("button", name="Use this key").click()
    expect(page.get_by_text("The key works.").first).to_be_visible()
    assert page.get_by_text("The server does not know this key.").count() == 0  # now, not later
    expect(page.locator(".tile").filter(has_text="Memory")).to_be_visible()
    page.locator("#tab-talk").click()
    expect(page.get_by_label("Model", exact=True)).to_have_value("smollm2-135m-instruct")
    page.reload()
    expect(page.get_by_label("Model", exact=True)).to_have_value("smollm2-135m-instruct")


def test_a_key_that_no_request_can_carry_is_not_kept(status: "Page") -> None:
    from playwright.sync_api import expect

    status.get_by_label("API key").fill("ключ")
    status.get_by_role("button", name="Use this key").click()
    expect(status.get_by_role("alert")).to_contain_text("'к'")
    expect(status.get_by_role("heading", level=1)).to_have_text("All is well")
    status.reload()
    expect(status.get_by_role("heading", level=1)).to_have_text("All is well")


def test_a_page_from_elsewhere_without_https_copies_too_and_the_focus_stays(
    open_page: Callable[..., "Page"], server: Server, complaints: Complaints
) -> None:
    from playwright.sync_api import expect

    complaints.expected = ["403"]
    port = server.url.rsplit(":", 1)[1]
    page = open_page("/#status", url=f"http://elsewhere.test:{port}")
    copy = page.get_by_role("button", name="Copy the base URL")
    copy.press("Enter")
    expect(page.get_by_role("status").filter(has_text="Copied.")).to_be_attached()
    expect(copy).to_be_focused()
    page.get_by_label("API key").press("ControlOrMeta+V")
    expect(page.get_by_label("API key")).to_have_value(f"http://elsewhere.test:{port}/v1")


def test_a_page_from_elsewhere_without_https_says_how_to_get_the_microphone(
    open_page: Callable[..., "Page"], server: Server, complaints: Complaints
) -> None:
    from playwright.sync_api import expect

    complaints.expected = ["403"]
    port = server.url.rsplit(":", 1)[1]
    page = open_page("/#status", url=f"http://elsewhere.test:{port}")
    card = page.get_by_role("region", name="The microphone does not work here")
    expect(card).to_contain_text("--ssl-certfile cert.pem")
    # A name that may be anybody's: what others asked is not for it.
    expect(page.get_by_role("region", name="Last failures")).to_contain_text("may not read")
    page.locator("#tab-talk").click()
    page.get_by_role("button", name="Hold to talk").click()
    expect(page.get_by_role("alert")).to_contain_text("http://localhost")
