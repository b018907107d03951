"""The tab Talk, in a browser: a model answers, what it says is drawn safely, nothing gets lost."""

import base64
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openai
import pytest

from tests.browser import SIZES, Complaints, screenshot, serious_findings
from tests.conftest import Server, running_server
from tests.pictures import encoded, noise
from tests.vision_models import write_pair

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

DONE = "data: [DONE]\n\n"
# So the bundled model tells its story to the end of its context.
ENDLESS = "localStorage.setItem('choice-option-temperature', '0')"


def chunks(*texts: str, **more: Any) -> str:
    """A reply as the API streams it, in so many chunks."""
    frames = [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in texts]
    frames.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], **more})
    return "".join(f"data: {json.dumps(frame)}\n\n" for frame in frames)


def says(page: "Page", body: str, status: int = 200) -> list[dict[str, Any]]:
    """Have the model say this from now on; what it was asked, in a list that grows."""
    asked: list[dict[str, Any]] = []

    def answer(route: "Route") -> None:
        asked.append(json.loads(route.request.post_data or ""))
        kind = "text/event-stream" if status == 200 else "application/json"
        route.fulfill(status=status, content_type=kind, body=body)

    page.unroute("**/v1/chat/completions")
    page.route("**/v1/chat/completions", answer)
    return asked


def send(page: "Page", text: str) -> None:
    page.get_by_label("Your message").fill(text)
    page.keyboard.press("Enter")


def last_reply(page: "Page") -> Any:
    return page.get_by_role("article", name="Reply").last


def written(page: "Page") -> None:
    """Wait until nothing is being written."""
    page.locator(".talk-messages[aria-busy=false]").wait_for()
    page.locator(".message").first.wait_for()


def test_a_model_answers_and_its_speed_is_told(page: "Page") -> None:
    from playwright.sync_api import expect

    page.evaluate("localStorage.setItem('choice-option-max_tokens', '20')")
    send(page, "Say hello.")
    expect(last_reply(page)).to_contain_text(
        re.compile(r"smollm2-135m-instruct · [\d.]+ tokens/s · \d+ written · \d+ read")
    )
    send(page, "Say it again.")
    expect(last_reply(page)).to_contain_text(re.compile(r"\d+ of them remembered"))
    expect(page.get_by_role("heading", level=1)).to_have_text("Say hello.")
    page.reload()
    page.get_by_role("button", name="Say hello.", exact=True).click()
    expect(page.locator(".message")).to_have_count(4)


def test_a_reply_can_be_stopped_and_what_was_written_stays(page: "Page") -> None:
    from playwright.sync_api import expect

    page.evaluate(ENDLESS)
    send(page, "Tell a very long story.")
    expect(last_reply(page)).to_contain_text(re.compile(r"\w+ \w+"))
    page.get_by_role("button", name="Stop writing").click()
    expect(last_reply(page)).to_contain_text("Stopped.")
    expect(page.get_by_role("button", name="Send")).to_be_enabled()
    assert len(page.locator(".message.is-reply .markdown").inner_text()) > 2


def test_a_reply_is_written_anew_and_an_earlier_message_can_be_changed(page: "Page") -> None:
    from playwright.sync_api import expect

    asked = says(page, chunks("First.") + DONE)
    send(page, "One")
    expect(last_reply(page)).to_contain_text("First.")
    says(page, chunks("Second.") + DONE)
    page.get_by_role("button", name="Write the reply anew").click()
    expect(last_reply(page)).to_contain_text("Second.")
    expect(page.locator(".message")).to_have_count(2)
    asked = says(page, chunks("Third.") + DONE)
    send(page, "Two")
    expect(last_reply(page)).to_contain_text("Third.")
    page.get_by_role("button", name="Change the message").first.click()
    page.get_by_role("article", name="You").first.get_by_role("textbox").fill("Uno")
    page.get_by_role("button", name="Send").first.click()
    expect(page.locator(".message")).to_have_count(2)
    written(page)
    assert [message["content"] for message in asked[0]["messages"]] == ["One", "Second.", "Two"]
    assert [message["content"] for message in asked[1]["messages"]] == ["Uno"]


def test_the_settings_are_sent_and_nothing_else_is(page: "Page") -> None:
    asked = says(page, chunks("Well.") + DONE)
    send(page, "As it comes")
    written(page)
    page.get_by_role("button", name="Settings of replies").click()
    page.get_by_label("System prompt").fill("You are a pirate.")
    page.get_by_label("Temperature").fill("0.25")
    page.get_by_label("Longest reply").fill("77")
    page.get_by_label("Seed").fill("5")
    assert serious_findings(page) == []
    page.get_by_role("button", name="Save").click()
    page.get_by_role("button", name="New conversation").click()
    send(page, "Hello")
    written(page)
    first, second = asked
    assert set(first) == {"model", "messages", "stream", "stream_options"}
    assert second["messages"][0] == {"role": "system", "content": "You are a pirate."}
    assert (second["temperature"], second["max_tokens"], second["seed"]) == (0.25, 77, 5)
    assert "top_p" not in second


NASTY = """<script>window.hacked = 1</script>
<img src=x onerror="window.hacked = 2">
"><img src=x onerror=window.hacked=3>

[click](javascript:window.hacked=4) ![tracked](http://elsewhere.test/pixel.png)
[JS](JAVASCRIPT:alert(1)) [data](data:text/html,<script>1</script>) [v](vbscript:x) [ok](https://a.example)

<svg onload="window.hacked=5"><style>body{display:none}</style>
<a href="data:text/html,<script>window.hacked=6</script>">data</a>
<form action="/v1/models/download"><button>Press</button></form>

```html"><img src=x onerror=window.hacked=7>
<script>window.hacked = 8</script>
```
| a <b onclick=window.hacked=9>x</b> | b |
|---|---|
| <iframe srcdoc="<script>parent.hacked=10</script>"></iframe> | ok |

**unclosed *and [broken](
"""


def test_what_a_model_writes_is_never_run(page: "Page") -> None:
    from playwright.sync_api import expect

    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    says(page, chunks(*NASTY, "\n\nThe end.") + DONE)
    send(page, '"><img src=x onerror=window.hacked=11> <script>window.hacked=12</script>')
    expect(last_reply(page)).to_contain_text("The end.")
    written(page)
    assert page.evaluate("window.hacked") is None
    forbidden = "script:not([src]), img, iframe, form:not(.composer), svg:not(.icon) style"
    assert page.locator(".message").locator(forbidden).count() == 0
    hrefs = page.locator(".message a").evaluate_all("(all) => all.map((each) => each.href)")
    assert all(re.match(r"(https?:.*)?$", href) for href in hrefs)
    assert "https://a.example/" in hrefs
    expect(last_reply(page)).to_contain_text("<script>window.hacked = 1</script>")
    assert not any("elsewhere.test" in url or url.endswith("/x") for url in requests)
    # Kept as it is, and as harmless when it is read again.
    page.reload()
    page.locator(".talk-list-name").click()
    expect(last_reply(page)).to_contain_text("The end.")
    assert page.evaluate("window.hacked") is None


def test_markdown_is_drawn_and_code_can_be_copied(page: "Page") -> None:
    from playwright.sync_api import expect

    text = (
        "# Title\n\n- one\n- two\n\n```python\nprint('<b>')\n```\n\n| a | b |\n|-|-|\n| 1 | 2 |\n"
    )
    says(page, chunks(*text) + DONE)
    send(page, "Markdown, please")
    reply = last_reply(page)
    expect(reply.get_by_role("heading", name="Title")).to_be_visible()
    expect(reply.get_by_role("listitem")).to_have_count(2)
    expect(reply.get_by_role("cell", name="2")).to_be_visible()
    expect(reply.locator("pre")).to_have_text("print('<b>')")
    reply.get_by_role("button", name="Copy code").click()
    assert page.evaluate("navigator.clipboard.readText()") == "print('<b>')"
    reply.get_by_role("button", name="Copy the reply").click()
    assert page.evaluate("navigator.clipboard.readText()") == text


def test_what_is_drawn_piece_by_piece_is_what_is_drawn_at_once(page: "Page") -> None:
    drawn = page.evaluate(
        """async (text) => {
          const { MarkdownView } = await import("/page/markdown.js");
          const whole = document.createElement("div");
          new MarkdownView(whole).finish(text);
          const grown = document.createElement("div");
          const view = new MarkdownView(grown);
          for (let at = 0; at < text.length; at += 40) {
            view.set(text.slice(0, at));
            await new Promise(requestAnimationFrame);
          }
          view.finish(text);
          const count = (each) => each.querySelectorAll(".part > *").length;
          return [whole.textContent, grown.textContent, count(whole), count(grown)];
        }""",
        NASTY
        + "\n1. one\n\n   more\n2. two\n\n> quote\nlazy\n\nTitle\n=====\n\n    code\n\n    more\n",
    )
    assert drawn[0] == drawn[1]
    assert drawn[2] == drawn[3]


def test_right_to_left_text_reads_from_the_right(page: "Page") -> None:
    says(page, chunks("مرحبا بالعالم\n\nHello, world.") + DONE)
    send(page, "שלום עולם")
    written(page)
    direction = "(each) => getComputedStyle(each).direction"
    assert page.locator(".message.is-mine .message-text").evaluate(direction) == "rtl"
    paragraphs = page.locator(".message.is-reply p[dir]")
    assert [paragraphs.nth(n).evaluate(direction) for n in (0, 1)] == ["rtl", "ltr"]


LONG = """async () => {
  const { MarkdownView } = await import("/page/markdown.js");
  const prose = "Some **bold** text and `code` in a paragraph that goes on.\\n\\n- item\\n- item";
  const block = prose + "\\n\\n```js\\nlet x;\\n```\\n\\n";
  const text = block.repeat(Math.ceil(200_000 / block.length));
  const element = document.querySelector(".talk-messages").appendChild(document.createElement("div"));
  const view = new MarkdownView(element);
  let frames = 0, isOver = false;
  const count = () => { frames += 1; if (!isOver) requestAnimationFrame(count); };
  requestAnimationFrame(count);
  let drawings = 0;
  const watcher = new MutationObserver(() => (drawings += 1));
  watcher.observe(element, { childList: true, subtree: true });
  for (let at = 0; at < text.length; at += 200) {
    view.set(text.slice(0, at));
    if (at % 1000 === 0) await new Promise(requestAnimationFrame);
  }
  isOver = true;
  view.finish(text);
  const blocks = element.querySelectorAll(".part > *").length;
  return { frames, drawings, length: element.textContent.length, blocks };
}"""


def test_a_reply_of_200_kb_is_drawn_at_most_once_a_frame(page: "Page") -> None:
    page.locator(".talk-hello").wait_for()
    drawn = page.evaluate(LONG)
    assert drawn["length"] > 120_000
    assert drawn["blocks"] > 4_000
    assert 1 < drawn["drawings"] <= drawn["frames"] + 2
    # One thousand chunks came; had each drawn the whole anew, the test would not end in time.
    says(page, chunks("Long.") + DONE)
    send(page, "x" * 200_000)
    written(page)


def test_a_model_that_thinks_has_its_thoughts_folded(page: "Page") -> None:
    from playwright.sync_api import expect

    thought = {"choices": [{"index": 0, "delta": {"reasoning_content": "Hm, <b>six</b>."}}]}
    says(page, f"data: {json.dumps(thought)}\n\n" + chunks("Seven.") + DONE)
    send(page, "Think")
    expect(last_reply(page)).to_contain_text("Seven.")
    expect(page.get_by_text("Hm, <b>six</b>.")).to_be_hidden()
    page.get_by_text("Thoughts").click()
    expect(page.get_by_text("Hm, <b>six</b>.")).to_be_visible()


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (chunks("Half a "), 200, "The server went away. What was written is kept."),
        ('data: {"error": {"message": "Out of memory."}}\n\n', 200, "Out of memory."),
        ('{"error": {"message": "The prompt is too long."}}', 400, "The prompt is too long."),
        ("<h1>Bad Gateway</h1>", 502, "The server answered 502"),
    ],
)
def test_a_reply_that_fails_says_why_and_can_be_tried_again(
    page: "Page", complaints: Complaints, body: str, status: int, said: str
) -> None:
    from playwright.sync_api import expect

    complaints.expected = ["400", "502"]
    says(page, body, status)
    send(page, "Hello")
    expect(last_reply(page).get_by_role("alert")).to_contain_text(said)
    assert serious_findings(page) == []
    says(page, chunks("All is well.") + DONE)
    page.get_by_role("button", name="Try again").click()
    expect(last_reply(page)).to_contain_text("All is well.")
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(page.locator(".message")).to_have_count(2)


@pytest.fixture
def short_lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server to be killed."""
    folder = tmp_path_factory.mktemp("short-lived")
    with running_server(folder) as running:
        patient = openai.OpenAI(base_url=f"{running.url}/v1", api_key="any", max_retries=20)
        patient.completions.create(model="gpt-4", prompt="Its model is loaded", max_tokens=1)
        yield running


def test_a_server_that_dies_in_the_middle_leaves_what_was_written(
    open_page: Callable[..., "Page"], short_lived: Server, complaints: Complaints
) -> None:
    from playwright.sync_api import expect

    complaints.expected = ["ERR_"]
    page = open_page(url=short_lived.url)
    page.evaluate(ENDLESS)
    send(page, "Tell a very long story.")
    expect(last_reply(page).locator(".markdown")).to_contain_text(re.compile(r"\w+"))
    short_lived.process.kill()
    expect(last_reply(page).get_by_role("alert")).to_contain_text("The server went away.")
    assert last_reply(page).locator(".markdown").inner_text()
    page.get_by_role("button", name="Try again").click()
    expect(last_reply(page).get_by_role("alert")).to_contain_text("Is it running?")


def test_a_second_click_does_nothing(page: "Page") -> None:
    from playwright.sync_api import expect

    asked = says(page, chunks("Once.") + DONE)
    page.get_by_label("Your message").fill("Twice?")
    page.get_by_role("button", name="Send").dblclick()
    expect(last_reply(page)).to_contain_text("Once.")
    page.get_by_role("button", name="Write the reply anew").dblclick(force=True)
    written(page)
    expect(page.locator(".message")).to_have_count(2)
    assert all(len(each["messages"]) == 1 for each in asked)
    page.get_by_role("button", name="Settings of replies").dblclick(force=True)
    expect(page.get_by_role("dialog")).to_have_count(1)


def test_conversations_are_named_renamed_exported_imported_and_deleted(
    page: "Page", tmp_path: Path
) -> None:
    from playwright.sync_api import expect

    name = '"><img src=x onerror=window.hacked=1>'
    says(page, chunks("A reply.") + DONE)
    send(page, f"{name} and six more words follow here today")
    written(page)
    names = page.locator(".talk-list-name")
    expect(names).to_have_text(re.compile("^" + re.escape(f"{name} and six more words")[:40]))
    page.get_by_role("button", name=re.compile("^Rename")).click()
    page.get_by_label("Name of the conversation").fill(f"Mine {name}")
    page.keyboard.press("Enter")
    expect(names).to_have_text(f"Mine {name}")
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Mine {name}")
    with page.expect_download() as downloading:
        page.get_by_role("button", name="Export", exact=True).click()
    file = json.loads(downloading.value.path().read_text("utf-8"))
    assert [each["content"] for each in file["conversations"][0]["messages"]][1] == "A reply."
    page.get_by_role("button", name=re.compile("^Delete")).click()
    expect(names).to_have_count(0)
    expect(page.locator(".message")).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(names).to_have_count(1)
    file["conversations"][0]["messages"][1] |= {"images": ["javascript:alert(1)"], "content": 7}
    bodies = [json.dumps(file), "no json", '{"conversations": [{"messages": 3}]}']
    for number, body in enumerate(bodies):
        file_of_body = tmp_path / f"{number}.json"
        file_of_body.write_text(body)
        page.get_by_label("File of conversations").set_input_files(file_of_body)
    expect(names).to_have_count(2)
    expect(page.get_by_text("This is no file of conversations.").first).to_be_visible()
    assert page.evaluate("window.hacked") is None


def test_a_conversation_deleted_while_its_reply_is_written_stays_deleted(page: "Page") -> None:
    from playwright.sync_api import expect

    page.evaluate(ENDLESS)
    send(page, "Tell me a very long story.")
    expect(last_reply(page)).to_contain_text(re.compile(r"\w+ \w+"))
    page.get_by_role("button", name=re.compile("^Delete")).click()
    expect(page.get_by_text("The conversation is deleted.").first).to_be_visible()
    page.get_by_role("button", name="Send").wait_for()  # the reply has ended
    page.reload()
    expect(page.get_by_text("Your conversations stay in this browser.")).to_be_visible()


def test_a_conversation_named_while_its_reply_is_written_stays_one(page: "Page") -> None:
    from playwright.sync_api import expect

    page.evaluate(ENDLESS)
    send(page, "Tell me a very long story.")
    expect(last_reply(page)).to_contain_text(re.compile(r"\w+ \w+"))
    rename = page.get_by_role("button", name=re.compile("^Rename"))
    field = page.get_by_label("Name of the conversation")
    rename.click()
    field.fill("The whale")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("The whale")
    expect(page.get_by_role("button", name="Stop writing")).to_be_visible()
    rename.click()
    field.fill("Half a na")
    page.get_by_role("button", name="Stop writing").evaluate("(button) => button.click()")
    written(page)
    expect(last_reply(page)).to_contain_text("Stopped.")
    page.keyboard.type("me")  # the end of a reply leaves the field as it is
    page.keyboard.press("Enter")
    expect(page.locator(".talk-list-name")).to_have_text(["Half a name"])


def test_two_tabs_do_not_overwrite_each_other(page: "Page", complaints: Complaints) -> None:
    from playwright.sync_api import expect

    says(page, chunks("Reply.") + DONE)
    send(page, "Start")
    written(page)
    other = page.context.new_page()
    complaints.watch(other)
    other.goto(page.url)
    other.get_by_role("button", name="Start", exact=True).click()
    expect(other.locator(".message")).to_have_count(2)
    held: list[Route] = []
    other.route("**/v1/chat/completions", lambda route: held.append(route))
    send(other, "From the other tab")
    expect(other.locator(".message")).to_have_count(4)
    # The other tab's question is kept, and shown here too; then both go on.
    expect(page.locator(".message")).to_have_count(4)
    send(page, "From here")
    written(page)
    expect(page.locator(".message")).to_have_count(6)
    held[0].fulfill(content_type="text/event-stream", body=chunks("Other reply.") + DONE)
    expect(other.get_by_text("went on in another tab").first).to_be_visible()
    expect(page.locator(".talk-list-name")).to_have_count(2)
    expect(page.locator(".talk-messages")).to_contain_text("From here")
    expect(other.locator(".talk-messages")).to_contain_text("Other reply.")


def test_a_conversation_deleted_in_another_tab_stays_deleted_until_it_goes_on_here(
    page: "Page", complaints: Complaints
) -> None:
    from playwright.sync_api import expect

    held: list[Route] = []
    page.route("**/v1/chat/completions", lambda route: held.append(route))
    send(page, "Start")
    expect(page.locator(".talk-list-name")).to_have_text("Start")
    other = page.context.new_page()
    complaints.watch(other)
    other.goto(page.url)
    other.locator(".talk-list-name").hover()
    other.get_by_role("button", name="Delete: Start").click()
    expect(page.get_by_text("was deleted in another tab").first).to_be_visible()
    held[0].fulfill(content_type="text/event-stream", body=chunks("Reply.") + DONE)
    written(page)
    expect(last_reply(page)).to_contain_text("Reply.")  # on the screen nothing is lost
    other.reload()
    for each in (page, other):
        expect(each.get_by_text("Your conversations stay in this browser.")).to_be_visible()
    says(page, chunks("More.") + DONE)
    send(page, "Go on")
    expect(other.locator(".talk-list-name")).to_have_text("Start")
    other.locator(".talk-list-name").click()
    expect(other.locator(".message")).to_have_count(4)


def test_a_deletion_that_is_undone_lets_both_tabs_go_on(
    page: "Page", complaints: Complaints
) -> None:
    from playwright.sync_api import expect

    says(page, chunks("Reply.") + DONE)
    send(page, "Start")
    written(page)
    page.get_by_role("button", name="Delete: Start").click()
    page.get_by_role("button", name="Undo").click()
    other = page.context.new_page()
    complaints.watch(other)
    other.goto(page.url)
    for number, each in enumerate((other, page), 2):
        says(each, chunks("More.") + DONE)
        each.locator(".talk-list-name").click()
        send(each, "Go on")
        expect(each.locator(".message")).to_have_count(2 * number)
        written(each)
    expect(other.locator(".message")).to_have_count(6)
    expect(other.locator(".talk-list-name")).to_have_count(1)


def test_where_the_browser_keeps_nothing_the_page_says_so_and_works(
    open_page: Callable[..., "Page"],
) -> None:
    from playwright.sync_api import expect

    page = open_page("/docs")
    page.context.add_init_script(
        "Object.defineProperty(window, 'indexedDB', { get() { throw new DOMException('no'); } });"
        "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('no'); } });"
    )
    page.goto(page.url.replace("/docs", "/"))
    expect(page.get_by_role("alert")).to_contain_text("This browser keeps nothing")
    says(page, chunks("Still here.") + DONE)
    send(page, "Hello")
    expect(last_reply(page)).to_contain_text("Still here.")
    expect(page.locator(".talk-list-name")).to_have_text("Hello")


def test_a_full_browser_is_said_and_the_conversation_goes_on(page: "Page") -> None:
    from playwright.sync_api import expect

    page.locator(".talk-hello").wait_for()
    quota = {"origin": page.evaluate("location.origin"), "quotaSize": 1000}
    page.context.new_cdp_session(page).send("Storage.overrideQuotaForOrigin", quota)
    says(page, chunks("Said anyway.") + DONE)
    send(page, "x" * 100_000)
    expect(last_reply(page)).to_contain_text("Said anyway.")
    expect(page.get_by_text("The browser's storage is full")).to_be_visible()
    expect(page.locator(".talk-list-name")).to_have_count(1)


def test_names_of_models_and_voices_are_shown_as_the_text_that_they_are(page: "Page") -> None:
    from playwright.sync_api import expect

    name = '"><img src=x onerror=window.hacked=1>'
    model = {"id": name, "root": name, "type": "chat", "input_modalities": ["text"]}
    voice = {"id": name, "name": name, "description": name}
    page.route("**/v1/models", lambda route: route.fulfill(json={"data": [model]}))
    page.route("**/v1/audio/voices", lambda route: route.fulfill(json={"data": [voice]}))
    page.reload()
    expect(page.get_by_label("Model", exact=True)).to_have_value(name)
    page.get_by_label("Voice of the replies").select_option(name)
    expect(page.get_by_role("button", name=f"Attach an image: {name} sees none")).to_be_visible()
    assert page.evaluate("window.hacked") is None


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_a_short_text_on_top_covers_none_of_the_choices(
    page: "Page", size: tuple[int, int]
) -> None:
    from playwright.sync_api import expect

    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.get_by_role("button", name=re.compile("Attach an image")).click()
    toast = page.locator(".toast")
    expect(toast).to_be_visible()
    shown, bar = toast.bounding_box(), page.locator(".talk-bar").bounding_box()
    assert shown
    assert bar
    assert shown["y"] >= bar["y"] + bar["height"]


@pytest.fixture(scope="module")
def seeing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a tiny model that sees, beside the bundled one."""
    folder = tmp_path_factory.mktemp("seeing")
    (folder / "models").mkdir()
    write_pair(folder / "models", "llava")
    with running_server(folder) as running:
        yield running


def test_an_image_is_attached_where_the_model_sees(
    open_page: Callable[..., "Page"], seeing: Server, tmp_path: Path
) -> None:
    from playwright.sync_api import expect

    page = open_page(url=seeing.url)
    page.get_by_label("Model", exact=True).select_option("smollm2-135m-instruct")
    page.get_by_role("button", name=re.compile("Attach an image: smollm2.* sees none")).click()
    expect(page.get_by_text("sees no images").first).to_be_visible()
    page.get_by_label("Model", exact=True).select_option("seer")
    expect(page.get_by_role("button", name="Attach an image", exact=True)).to_be_visible()
    page.get_by_role("button", name="Settings of replies").click()
    page.get_by_label("Longest reply").fill("20")
    page.get_by_role("button", name="Save").click()
    (tmp_path / "a.png").write_bytes(encoded(noise(1, 2000, 30)))
    (tmp_path / "b.png").write_bytes(b"no picture")
    page.get_by_label("Images").set_input_files([tmp_path / "a.png", tmp_path / "b.png"])
    expect(page.get_by_alt_text("Image to send")).to_have_count(1)
    expect(page.get_by_text("b.png is no image")).to_be_visible()
    with page.expect_request("**/v1/chat/completions") as asking:
        send(page, "What is this?")
    written(page)
    image, text = json.loads(asking.value.post_data or "")["messages"][0]["content"]
    assert text == {"type": "text", "text": "What is this?"}
    assert image["image_url"]["url"].startswith("data:image/jpeg;base64,")
    assert len(base64.b64decode(image["image_url"]["url"].partition(",")[2])) < 100_000
    expect(page.get_by_alt_text("Attached image")).to_be_visible()
    expect(last_reply(page).get_by_role("alert")).to_have_count(0)
    told = re.search(r"seer .*written · (\d+) read", last_reply(page).inner_text())
    assert told
    assert int(told[1]) > 36  # the image's own tokens, and the question's


def test_a_reply_is_spoken_while_it_is_written(page: "Page") -> None:
    from playwright.sync_api import expect

    page.get_by_label("Voice of the replies").select_option("nova")
    spoken: list[dict[str, Any]] = []

    def note(route: "Route") -> None:
        spoken.append(json.loads(route.request.post_data or ""))
        route.continue_()

    page.route("**/v1/audio/speech", note)
    text = (
        "Hello there. This is a longer second sentence.\n\n```python\nprint(1)\n```\n\nAnd the end."
    )
    says(page, chunks(*re.findall(r"\S+\s*", text)) + DONE)
    send(page, "Speak")
    expect(page.get_by_role("button", name="Stop speaking")).to_be_visible()
    expect(page.get_by_role("button", name="Stop speaking")).to_be_hidden(timeout=20_000)
    assert [each["input"] for each in spoken] == [
        "Hello there.",
        "This is a longer second sentence.",
        "And the end.",
    ]
    assert {each["voice"] for each in spoken} == {"nova"}
    page.get_by_role("button", name="Read the reply aloud").click()
    page.get_by_role("button", name="Stop speaking").click()
    expect(page.get_by_role("button", name="Stop speaking")).to_be_hidden()


def pieces(page: "Page", *texts: str) -> list[str]:
    """How a text that grows so is cut."""
    cut: list[str] = page.evaluate(
        """async (texts) => {
          const { Pieces } = await import("/page/talk-voice.js");
          const pieces = new Pieces();
          return texts.flatMap((text, at) => [...pieces.next(text, at === texts.length - 1)]);
        }""",
        list(texts),
    )
    return cut


def test_a_reply_is_cut_into_sentences_the_first_one_soon(page: "Page") -> None:
    assert pieces(page, "Hi", "Hi. The", "Hi. The end") == ["Hi.", "The end"]
    assert pieces(page, "Dr. Smith came. He") == ["Dr. Smith came.", "He"]
    assert pieces(page, "1. First\n2. Second\n") == ["1. First", "2. Second"]
    long = "A sentence that goes on and on without any end, and on and on,"
    assert (
        pieces(page, long, f"{long} and so on")[0]
        == "A sentence that goes on and on without any end,"
    )
    assert pieces(page, "Look:\n```\ncode. more", "Look:\n```\ncode. more\n```\nThat.") == [
        "Look:",
        "That.",
    ]
    assert pieces(page, "x" * 2500) == ["x" * 1000, "x" * 1000, "x" * 500]
    assert pieces(page, "***", "***\n\n---\n") == []


def test_what_is_said_into_the_microphone_is_written_down_and_sent(page: "Page") -> None:
    from playwright.sync_api import expect

    asked = says(page, chunks("Paris.") + DONE)
    microphone = page.get_by_role("button", name="Hold to talk")
    microphone.hover()
    page.mouse.down()
    expect(page.get_by_text("Listening…").first).to_be_visible()
    page.wait_for_function("() => performance.now() > (window.until ??= performance.now() + 3500)")
    scale = "(bar) => new DOMMatrix(getComputedStyle(bar).transform).a"
    assert 0 <= page.locator(".listening .level span").evaluate(scale) <= 1
    screenshot(page, "talk-listening")
    page.mouse.up()
    expect(last_reply(page)).to_contain_text("Paris.")
    assert "capital of France" in asked[0]["messages"][0]["content"]


def test_on_a_phone_the_level_is_seen_and_a_button_stays_on_one_line(page: "Page") -> None:
    from playwright.sync_api import expect

    width, height = SIZES["phone"]
    page.set_viewport_size({"width": width, "height": height})
    page.get_by_label("Voice of the replies").select_option("nova")
    says(page, chunks("A reply that is long enough to be spoken for some seconds.") + DONE)
    send(page, "Hello")
    quiet = page.get_by_role("button", name="Stop speaking")
    expect(quiet).to_be_visible()
    lines = """(button) => {
      const words = new Range();
      words.selectNodeContents(button.lastChild);
      return words.getClientRects().length;
    }"""
    assert quiet.evaluate(lines) == 1
    quiet.click()
    page.get_by_role("button", name="Hold to talk").press("Enter")
    expect(page.get_by_text("Listening…").first).to_be_visible()
    level = page.locator(".listening .level").bounding_box()
    assert level
    assert level["width"] >= 60
    page.get_by_role("button", name="Forget what was said").click()


def test_a_microphone_that_is_refused_says_what_to_do(open_page: Callable[..., "Page"]) -> None:
    from playwright.sync_api import expect

    page = open_page()
    refusal = "async () => { throw new DOMException('', 'NotAllowedError'); }"
    page.evaluate(f"navigator.mediaDevices.getUserMedia = {refusal}; 0")
    page.get_by_role("button", name="Hold to talk").click()
    expect(page.get_by_role("alert")).to_contain_text("Allow it in the browser")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_conversation_fits_its_screen_and_everyone_can_use_it(
    open_page: Callable[..., "Page"], size: str, scheme: str
) -> None:
    width, height = SIZES[size]
    page = open_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    usage = {
        "prompt_tokens": 120,
        "completion_tokens": 84,
        "prompt_tokens_details": {"cached_tokens": 96},
    }
    said = chunks(*SHOWN, model="smollm2-135m-instruct", usage=usage)
    says(page, said + DONE)
    send(page, "How do I add two numbers in Python?")
    written(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert serious_findings(page) == []
    screenshot(page, f"talk-conversation-{size}-{scheme}")
    if size == "phone":
        page.get_by_role("button", name="Conversations", exact=True).click()
        page.locator(".talk-list-name").wait_for()
        assert serious_findings(page) == []
        screenshot(page, f"talk-list-{scheme}")


SHOWN = """Use the **plus sign**. A small function keeps it readable:

```python
def add(a: float, b: float) -> float:
    return a + b
```

It works for:

1. whole numbers, `add(2, 3)`
2. fractions, `add(0.5, 0.25)`

| call | result |
|---|---|
| `add(2, 3)` | 5 |
| `add(-1, 1)` | 0 |
"""
