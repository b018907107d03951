"""Texts of the characters that text is cut, cleaned and spoken wrongly for."""

import random

NASTY = [
    *"aZ é ñ ß 漢 字 か カ ー ッ 한 글 ा ि ् क ष ن ش ِ ж ก ่ 0 7 ٣ Ａ １ ﬁ".split(" "),
    *". , ! ? … 。 ！ ？ 、 ， ؟ ، । : ; — – - ' \" “ ” « » ( ) [ ] 「 」 * _ # & < > / @ % $ € °".split(
        " "
    ),
    *" \t\n\r\x00\x07\x1b\x7f\u200b\u200d\u200e\ufeff\u00ad\u00a0\u3000\u2028\ue000\ufffd",
    *["\ud800", "\u0301", "\u0300", "\ufe0f", "😀", "👩‍👩‍👧", "🇩🇪", "1️⃣", "→"],
    *["<b>", "</p>", "<break time='1s'/>", "&amp;", "&#0;", "[a](b)", "\n\n", ". ", "Dr. ", "3.14"],
]


def nasty_text(source: random.Random) -> str:
    """Up to 900 characters, words and marks of any script, a dozen kinds of them in one text."""
    common = source.choices(NASTY, k=source.randint(1, 12))
    return "".join(source.choices([*common, "word ", "a"], k=source.randint(1, 900)))
