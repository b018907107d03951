"""What people and models write, as it would be read out: no markdown, no HTML, no emoji, no thoughts.

Knows no language: nothing is put in its place, and numbers stay as they are.
"""

import re
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser

import emoji
from markdown_it import MarkdownIt
from markdown_it.token import Token

THOUGHTS = re.compile(
    r"<(think|thinking|thought|reasoning)>.*?(?:</\1>|\Z)", re.DOTALL | re.IGNORECASE
)
# Where the prompt's template has opened them.
REST_OF_THOUGHTS = re.compile(
    r"\A.*?</(?:think|thinking|thought|reasoning)>", re.DOTALL | re.IGNORECASE
)
# What is left of markdown that was cut in two, as by a client that sends one sentence at a time.
LEFTOVERS = re.compile(
    r"(?<!\w)[*_`~]{1,3}(?=\S)|(?<=\S)[*_`~]{1,3}(?!\w)|^\s*#{1,6}\s+|^\s*[-*+>]\s+|`{3}\w*",
    re.MULTILINE,
)
COMMENT = re.compile("<!--.*?-->", re.DOTALL)
# No tag, for another begins before it ends. Python's parser looks for that end anew from each of them.
LONE_LESS_THAN = re.compile(r"<(?=[^<>]*(?:<|\Z))")
TIMES = re.compile(r"(?<=\d)\*(?=\d)")
UNSPOKEN_TAGS = {"script", "style", "head", "title", "template"}
BLOCK_TAGS = set(
    "p s div br li ul ol tr table h1 h2 h3 h4 h5 h6 blockquote section article hr".split()
)
SENTENCE_ENDS = (".", "!", "?", "…", ":", ";", ",", "。", "！", "？", "।")
INVISIBLE = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff\ufe0e\ufe0f\u20e3"))


def readable(text: str, *, code_alone: bool = True) -> str:
    """The text as sentences and lines; empty when there is nothing to read. Code blocks are left out, unless
    there is nothing else and `code_alone` is said to be worth reading."""
    text = TIMES.sub("×", without_thoughts(text))
    tokens = _markdown().parse(_without_tags(text))
    lines = list(_lines(tokens))
    if code_alone:
        lines = lines or [token.content for token in tokens if token.type == "fence"]
    text = "\n".join(filter(None, map(str.strip, lines)))
    return emoji.replace_emoji(LEFTOVERS.sub("", text), "").translate(INVISIBLE).strip()


def without_thoughts(text: str) -> str:
    """The text without what a model thought before it answered."""
    return REST_OF_THOUGHTS.sub("", THOUGHTS.sub("", text))


@cache
def _markdown() -> MarkdownIt:
    # Tags are gone by then, and a line that begins with four spaces is no code to most who write one.
    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    return parser.disable(["code", "html_block", "html_inline", "reference"])


def _lines(tokens: list[Token]) -> Iterator[str]:
    """Each paragraph, heading, list item and row as text."""
    cells: list[str] = []
    prefix, kind = "", ""
    for token in tokens:
        if token.type == "list_item_open" and token.info:
            prefix = f"{token.info}. "
        elif token.type in ("heading_open", "th_open", "td_open", "paragraph_open"):
            kind = token.type
        elif token.type == "inline":
            text = prefix + "".join(_inline(token.children or []))
            prefix = ""
            if kind in ("th_open", "td_open"):
                cells.append(text.strip())
            else:
                yield _ended(text) if kind == "heading_open" else text
        elif token.type == "tr_close":
            yield _ended(", ".join(filter(None, cells)))
            cells = []


def _inline(tokens: list[Token]) -> Iterator[str]:
    for token in tokens:
        if token.type in ("text", "code_inline"):
            yield token.content
        elif token.type in ("softbreak", "hardbreak"):
            yield "\n"
        elif token.type == "image":
            yield token.content


def _ended(text: str) -> str:
    """A line that is a sentence, so that there is a pause after it."""
    text = text.strip()
    return text if not text or text.endswith(SENTENCE_ENDS) else text + "."


def _without_tags(text: str) -> str:
    if "<" not in text and "&" not in text:
        return text
    comments_end = text.rfind("-->") + 3 if "-->" in text else 0
    text = COMMENT.sub("", text[:comments_end]) + text[comments_end:]
    reader = _Reader()
    reader.feed(LONE_LESS_THAN.sub("&lt;", text))
    reader.close()
    return "".join(reader.parts)


class _Reader(HTMLParser):
    """The text of HTML, a line for each block."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._unspoken: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in UNSPOKEN_TAGS:
            self._unspoken.append(tag)
        elif tag.startswith(("http:", "https:", "mailto:")):  # markdown's way of writing a link
            self.parts.append((self.get_starttag_text() or "")[1:-1])
        elif tag == "img":
            self.parts.append(dict(attrs).get("alt") or "")
        elif tag in BLOCK_TAGS:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._unspoken:
            while self._unspoken.pop() != tag:
                continue
        elif tag in BLOCK_TAGS:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._unspoken:
            self.parts.append(data)
