"""Models: what is here, what fits; one is fetched with its progress, loaded, unloaded and removed."""

import json
import shutil
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import httpx
import pytest

from engine_room.catalogue import BUNDLED_FILE, BUNDLED_PACKAGE
from engine_room.packages import package_dir
from tests.browser import SIZES, Complaints, screenshot, serious_findings
from tests.conftest import Server, running_server
from tests.local_hub import LocalHub, Repo, local_hub

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

FOLDER = package_dir(BUNDLED_PACKAGE)
assert FOLDER
GGUF = (FOLDER / BUNDLED_FILE).read_bytes()
GIANT = """
[[model]]
id = "giant"
kind = "chat"
repository = "me/giant"
files = ["giant-Q4_K_M.gguf"]
parameters = 9000
quantisation = "Q4_K_M"
"""
HOSTILE = '"><img src=x onerror=alert(1)>'


@pytest.fixture(scope="module")
def hub() -> Iterator[LocalHub]:
    with local_hub(me__mine=Repo({"mine.Q4_1.gguf": GGUF})) as hub:
        yield hub


@pytest.fixture(scope="module")
def own_server(hub: LocalHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("models")
    (folder / "models").mkdir()
    (folder / "models" / "offers.toml").write_text(GIANT)
    with running_server(folder, environment={"HF_ENDPOINT": hub.url}) as server:
        yield server
    shutil.rmtree(folder)


@pytest.fixture
def models(open_page: Callable[..., "Page"], own_server: Server) -> "Locator":
    """The tab, opened."""
    from playwright.sync_api import expect

    tab = open_page("/#models", url=own_server.url).locator("section#models")
    expect(tab.get_by_label("On this machine")).to_contain_text("smollm2-135m-instruct")
    return tab


def fetch(models: "Locator", name: str) -> None:
    """Ask for a model of the hub."""
    models.get_by_label("Another model").fill(name)
    models.get_by_role("button", name="Fetch it").click()


def cloning(http: httpx.Client) -> dict[str, str]:
    """How voice cloning is."""
    part: dict[str, str] = http.get("/health").json()["parts"]["voice_cloning"]
    return part


def test_what_is_here_says_what_it_is_for_and_is_loaded_and_unloaded(
    models: "Locator", http: httpx.Client
) -> None:
    from playwright.sync_api import expect

    here = models.get_by_label("On this machine")
    row = here.get_by_role("listitem").filter(has_text="smollm2-135m-instruct")
    expect(row).to_contain_text("came with the install")
    expect(row).to_contain_text("gpt-4")
    expect(here).to_contain_text("hibari")
    expect(here).to_contain_text("faster-whisper-base")
    assert here.get_by_role("button", name="Remove").count() == 0
    row.get_by_role("button", name="Load").click()
    expect(row).to_contain_text("in memory", timeout=30_000)
    row.get_by_role("button", name="Unload").click()
    expect(row).not_to_contain_text("in memory")
    assert http.get("/v1/models/smollm2-135m-instruct").json()["status"] == "available"


def test_a_model_is_fetched_and_removed_after_a_question(
    models: "Locator", http: httpx.Client
) -> None:
    from playwright.sync_api import expect

    page = models.page
    fetch(models, "me/mine")
    row = (
        models.get_by_label("On this machine").get_by_role("listitem").filter(has_text="mine.Q4_1")
    )
    expect(row).to_be_visible(timeout=30_000)
    expect(page.locator(".toast")).to_contain_text("mine.Q4_1 is here.")
    row.get_by_role("button", name="Remove").click()
    page.get_by_role("button", name="Cancel").click()
    assert http.get("/v1/models/mine").status_code == 200
    row.get_by_role("button", name="Remove").click()
    page.get_by_role("button", name="Remove it").click()
    expect(row).to_have_count(0)
    assert http.get("/v1/models/mine").status_code == 404


def test_a_download_shows_how_far_it_is_on_every_page_and_is_stopped(
    models: "Locator", hub: LocalHub, own_server: Server, open_page: Callable[..., "Page"]
) -> None:
    from playwright.sync_api import expect

    hub.repos["me/slow"] = Repo({"slow.gguf": GGUF}, stalls_after=len(GGUF) // 2)
    fetch(models, "me/slow")
    running = models.get_by_label("Being fetched")
    expect(running).to_contain_text(f"of {round(len(GGUF) / 1e6)} MB")
    other = open_page("/#models", url=own_server.url).locator("section#models")
    expect(other.get_by_label("Being fetched")).to_contain_text("me/slow")
    other.get_by_role("button", name="Stop me/slow").click()
    hub.repos["me/slow"].go_on.set()
    expect(running).to_be_hidden()
    expect(models.page.locator(".toast")).to_contain_text("stopped")


def test_what_can_be_fetched_is_searched_and_says_whether_it_fits(models: "Locator") -> None:
    from playwright.sync_api import expect

    offers = models.get_by_label("Can be fetched")
    expect(offers.get_by_role("button", name="Fetch qwen3-0.6b", exact=True)).to_be_visible()
    expect(offers.get_by_role("button", name="Fetch bm_fable", exact=True)).to_have_count(0)
    offers.get_by_role("button", name="Show all").click()
    expect(offers.get_by_role("listitem").nth(8).get_by_role("button")).to_be_focused()
    expect(offers.get_by_role("button", name="Fetch bm_fable", exact=True)).to_be_visible()
    offers.get_by_label("Only what fits").uncheck()
    giant = offers.get_by_role("listitem").filter(has_text="giant")
    expect(giant.locator(".chip.is-bad")).to_contain_text("too large now: needs")
    offers.get_by_label("Only what fits").check()
    expect(giant).to_have_count(0)
    offers.get_by_label("For", exact=True).select_option("embedding")
    expect(offers.get_by_role("listitem").filter(has_text="nomic-embed-text")).to_have_count(1)
    expect(offers.get_by_role("button", name="Fetch qwen3-0.6b", exact=True)).to_have_count(0)
    offers.get_by_label("Search").fill("no such thing")
    expect(offers).to_contain_text("None of the list")


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_a_link_leads_to_the_model_that_it_names(models: "Locator", size: tuple[int, int]) -> None:
    from playwright.sync_api import expect

    page = models.page
    page.set_viewport_size({"width": size[0], "height": size[1]})
    models.get_by_label("For", exact=True).select_option("chat")
    page.locator("#tab-status").click()
    page.get_by_role("link", name="Fetch xtts_v2 under Models").click()
    fetch = models.get_by_role("button", name="Fetch xtts_v2")
    expect(fetch).to_be_focused()
    expect(fetch).to_be_in_viewport(ratio=1)


def test_xtts_is_fetched_when_its_licence_is_agreed_to(
    models: "Locator", hub: LocalHub, http: httpx.Client
) -> None:
    from playwright.sync_api import expect

    names = ("config.json", "model.pth", "vocab.json", "speakers_xtts.pth")
    hub.repos["coqui/XTTS-v2"] = Repo(dict.fromkeys(names, b"x" * 1000))
    asked = []
    models.page.on("request", lambda request: asked.append(request.url))
    offers = models.get_by_label("Can be fetched")
    offers.get_by_label("Only what fits").uncheck()
    offers.get_by_label("Search").fill("cloned voices")
    offers.get_by_role("button", name="Fetch xtts_v2").click()
    dialog = models.page.get_by_role("dialog")
    expect(dialog).to_contain_text("non-commercial")
    assert "for study, research, testing or hobby." in dialog.locator(".terms").inner_text()
    dialog.get_by_role("button", name="Cancel").click()
    assert not [url for url in asked if url.endswith("/download")]
    assert "There is no XTTS model" in cloning(http)["reason"]
    offers.get_by_role("button", name="Fetch xtts_v2").click()
    dialog.get_by_role("button", name="I agree: fetch it").click()
    expect(models.page.locator(".toast")).to_contain_text("xtts_v2 is here.", timeout=30_000)
    assert cloning(http)["status"] != "unavailable"
    assert http.delete("/v1/models/xtts_v2").status_code == 200


def test_what_cannot_be_fetched_says_why_as_text(models: "Locator", complaints: Complaints) -> None:
    from playwright.sync_api import expect

    complaints.expected = ["404", "400"]
    for name, said in (("me/nothing", "me/nothing"), (HOSTILE, "onerror")):
        fetch(models, name)
        expect(models.get_by_role("alert")).to_contain_text(said)
    assert models.page.locator("img").count() == 0
    expect(models.get_by_label("Being fetched")).to_be_hidden()


def test_a_hostile_file_name_is_drawn_as_text_and_removed(
    models: "Locator", own_server: Server
) -> None:
    from playwright.sync_api import expect

    file = own_server.folder / "models" / f"{HOSTILE}.gguf"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(GGUF)
    models.page.reload()
    here = models.get_by_label("On this machine")
    expect(here.locator("strong").first).to_have_text(HOSTILE)
    here.get_by_role("button", name="Remove").click()
    expect(models.page.get_by_role("dialog").get_by_role("heading")).to_contain_text(HOSTILE)
    assert models.page.locator("img").count() == 0
    models.page.get_by_role("button", name="Remove it").click()
    expect(here).not_to_contain_text("onerror")
    assert not file.exists()


def test_a_download_that_breaks_off_says_so_and_goes_on(
    models: "Locator", complaints: Complaints
) -> None:
    from playwright.sync_api import expect

    page = models.page
    begun: dict[str, object] = {
        "id": "dl-1",
        "model": "me/mine",
        "status": "running",
        "seconds_left": None,
    }
    begun |= {"total_bytes": 9, "completed_bytes": 1, "bytes_per_s": 1}
    page.route(
        "**/v1/models/download",
        lambda route: route.fulfill(
            body=f"data: {json.dumps(begun)}\n\n", content_type="text/event-stream"
        ),
    )
    fetch(models, "me/mine")
    expect(models.get_by_label("Being fetched")).to_contain_text("went away")
    page.unroute("**/v1/models/download")
    models.get_by_role("button", name="Try again").click()
    expect(models.get_by_label("On this machine")).to_contain_text("mine.Q4_1", timeout=30_000)
    models.get_by_role("button", name="Remove mine.Q4_1").click()
    page.get_by_role("button", name="Remove it").click()
    expect(models.get_by_label("On this machine")).not_to_contain_text("mine.Q4_1")


def test_without_a_server_it_says_so_and_tries_again(
    open_page: Callable[..., "Page"], own_server: Server, complaints: Complaints
) -> None:
    from playwright.sync_api import expect

    complaints.expected = ["ERR_CONNECTION_REFUSED"]
    page = open_page(url=own_server.url)
    page.route("**/v1/models/offers", lambda route: route.abort("connectionrefused"))
    page.locator("#tab-models").click()
    tab = page.locator("section#models")
    expect(tab.get_by_role("alert")).to_contain_text("Is it running?")
    page.unroute("**/v1/models/offers")
    tab.get_by_role("button", name="Try again").click()
    expect(tab.get_by_label("On this machine")).to_contain_text("smollm2")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_its_screen_and_everyone_can_use_it(
    open_page: Callable[..., "Page"], own_server: Server, hub: LocalHub, size: str, scheme: str
) -> None:
    from playwright.sync_api import expect

    width, height = SIZES[size]
    view = {"width": width, "height": height}
    page = open_page("/#models", url=own_server.url, viewport=view, color_scheme=scheme)
    tab = page.locator("section#models")
    name = f"me/{size}-{scheme}"
    repo = Repo({f"{size}-{scheme}.gguf": GGUF}, stalls_after=len(GGUF) // 2)
    hub.repos[name] = repo
    tab.get_by_label("Only what fits").uncheck()
    fetch(tab, name)
    expect(tab.get_by_label("Being fetched")).to_contain_text(f"of {round(len(GGUF) / 1e6)} MB")
    page.evaluate("scrollTo(0, 0)")
    screenshot(page, f"models-fetching-{size}-{scheme}")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert serious_findings(page) == []
    tab.get_by_role("button", name=f"Stop {name}").click()
    repo.go_on.set()
    expect(tab.get_by_label("Being fetched")).to_be_hidden()
    tab.get_by_label("Can be fetched").scroll_into_view_if_needed()
    tab.get_by_role("heading", name="Can be fetched").evaluate("node => node.scrollIntoView()")
    screenshot(page, f"models-offers-{size}-{scheme}")
