"""Text is cut where nobody hears it, fits every limit, loses no word, and is made fit to be spoken."""

import random
import time
import unicodedata
from collections.abc import Callable

import pytest

from engine_room.errors import InvalidRequest
from engine_room.xtts.cleaning import cleaned, has_words
from engine_room.xtts.languages import LANGUAGES
from engine_room.xtts.text import Piece, pieces, spoken
from tests.nasty_texts import nasty_text


def cut(text: str, language: str = "en", num_tokens: Callable[[str], int] = len) -> list[str]:
    return [piece.text for piece in pieces(text, language, num_tokens)]


def without_space(text: str) -> str:
    return "".join(text.split())


def words_of(text: str) -> str:
    return "".join(filter(str.isalnum, text))


def plain_text(source: random.Random) -> str:
    """Words between all kinds of gaps, a number here and there."""
    gaps = [" ", " ", " ", " ", ", ", ". ", "! ", "? ", "; ", "\n\n", " (", ") ", "… ", ": "]
    words = ["the", "house", "Überraschung", "größer", "3.14", "Dr.", "e.g.", "incomprehensibly"]
    return "".join(source.choice(words) + source.choice(gaps) for _ in range(200))


# Limits


@pytest.mark.parametrize("language", LANGUAGES)
def test_pieces_of_any_characters_fit_the_limits_and_lose_no_letter(language: str) -> None:
    source = random.Random(language)
    for _ in range(60):
        text = nasty_text(source)
        plain = cleaned(text, language)
        if not has_words(plain):
            continue
        found = cut(text, language)
        assert words_of("".join(found)) == words_of(plain)
        for piece in found:
            assert has_words(piece)
            assert piece == piece.strip()
            assert len(piece) <= LANGUAGES[language].max_chars
            assert len(spoken(piece, language)) <= LANGUAGES[language].max_chars


def test_joined_pieces_are_the_cleaned_text() -> None:
    source = random.Random(7)
    for language in [*LANGUAGES] * 5:
        text = plain_text(source)
        assert without_space("".join(cut(text, language))) == without_space(cleaned(text, language))


def test_no_word_is_cut_where_there_is_a_space() -> None:
    source = random.Random(8)
    for language in LANGUAGES:
        text = plain_text(source)
        assert " ".join(cut(text, language)).split() == cleaned(text, language).split()


def test_tokens_count_where_they_are_more_than_characters() -> None:
    def num_tokens(text: str) -> int:  # a digit is a long word when it is spoken
        return len(text) + 20 * sum(map(str.isdigit, text))

    text = "The number is 123 and then 4567 and 89012, or 345678 it may be. " * 30
    found = cut(text, "en", num_tokens)
    assert all(num_tokens(spoken(piece, "en")) <= 400 for piece in found)
    assert " ".join(found).split() == text.split()


def test_a_limit_that_a_character_breaks_ends_all_the_same() -> None:
    found = list(pieces("abc def", "en", lambda text: 10, max_tokens=5))
    assert "".join(piece.text for piece in found) == "abcdef"


def test_only_a_word_longer_than_the_limit_is_cut_and_not_inside_a_character() -> None:
    found = cut("x" * 600 + " yes")
    assert [len(piece) for piece in found] == [248, 248, 108]
    for text in ("x\u0331" * 1000, "क्षि" * 1000, "x" + "ก่" * 1000):
        found = cut(text, "hi")
        assert "".join(found) == text
        assert not any(unicodedata.category(piece[0]).startswith("M") for piece in found)
        assert not any(piece.endswith("\u094d") for piece in found)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Hello world, this is fine. " * 1900, "en"),
        ("Bonjour le monde. " * 2800, "fr"),
        ("a" * 50_000, "en"),
        ("好" * 50_000, "zh-cn"),
        ("1234567890 " * 4500, "en"),
        ("😀" * 50_000 + "x", "en"),
        (" 😀" * 25_000 + "x", "en"),
        (" " * 50_000 + "x", "en"),
        ("\n" * 50_000 + "x", "en"),
        ("\n \n" * 16_000 + "x", "en"),
        ("<a " * 16_000, "en"),
        ("<!--" * 12_500 + "x", "en"),
        ("*a" * 25_000, "en"),
        (". " * 25_000 + "x", "en"),
        ("!?" * 25_000 + "x", "en"),
        ("[" * 50_000 + "x", "en"),
        ("[a](" * 12_500, "en"),
        ('"' * 50_000 + "x", "en"),
        ("e" + "\u0301\u0302" * 25_000, "en"),
        ("a.b," * 12_500, "en"),
        ("& &a " * 10_000, "en"),
    ],
)
def test_fifty_thousand_characters_are_cut_in_no_time(text: str, language: str) -> None:
    start_s = time.process_time()
    assert cut(text, language)
    assert time.process_time() - start_s < 1


# Where it is cut


def test_the_first_piece_is_one_sentence_and_the_others_are_filled() -> None:
    first = "This is the first sentence."
    text = f"{first} " + "Another sentence of this text. " * 12
    found = cut(text)
    assert found[0] == first
    assert found[1] == ("Another sentence of this text. " * 8).strip()
    assert len(found) == 3


def test_a_first_sentence_of_a_word_takes_the_next_one_along() -> None:
    assert cut("Hi. I am glad to see you here. " + "And so on. " * 30)[0] == (
        "Hi. I am glad to see you here."
    )


def test_a_last_word_alone_is_not_left_behind() -> None:
    assert cut("I have paid for everything already. Ok?") == [
        "I have paid for everything already. Ok?"
    ]


def test_a_long_first_sentence_begins_with_its_first_clause() -> None:
    text = "When the rain had stopped, we went out " + "and walked " * 12 + "home. Then we slept."
    assert cut(text)[0] == "When the rain had stopped,"


def test_a_long_sentence_is_cut_at_a_clause_else_at_a_word_and_leaves_no_crumb() -> None:
    sentence = (
        "and so they walked " * 8 + "home, where " + "it was warm inside " * 8 + "today, too."
    )
    found = cut("This is how it begins. " + sentence)
    assert [piece[-5:] for piece in found] == ["gins.", "home,", " too."]
    words = ("word " * 51).strip()  # 254 characters: not 250 and then a last one alone
    assert [len(piece.split()) for piece in cut("This is how it begins. " + words)] == [5, 46, 5]


@pytest.mark.parametrize(
    ("language", "sentence"),
    [
        ("en", "Dr. Smith met Mr. and Mrs. Jones of St. Ives."),
        ("en", "J. R. R. Tolkien wrote it at 3 p.m. on Oct. 5th."),
        ("en", "It costs 3.14 dollars at www.example.com today."),
        ("en", "Bring fruit, e.g. apples, i.e. food, etc. and go."),
        ("en", "1. Wash your hands with soap."),
        ("es", "El Sr. García y la Dra. Pérez pagan 3,50 euros."),
        ("fr", "M. Dupont et Mme. Moreau habitent au n. 12 ici."),
        ("de", "Am 3. Mai kam Dr. Müller z. B. nach Berlin."),
        ("it", "Il sig. Rossi e il dott. Bianchi sono qui."),
        ("pt", "O Sr. Silva e a Dra. Costa estão aqui."),
        ("pl", "Mieszka przy ul. Długiej np. z prof. Nowakiem."),
        ("tr", "Prof. Dr. Yılmaz 3. sırada oturuyor bugün."),
        ("ru", "В 1990 г. на ул. Ленина жил проф. Иванов."),
        ("nl", "Dhr. Jansen en mevr. de Vries zijn hier."),
        ("cs", "Pan Ing. Novák přijde 3. května v osm."),
        ("ar", "قال د. أحمد إن السعر 3.5 دولار اليوم"),
        ("hu", "Dr. Szabó a 3. emeleten lakik, pl. Budán."),
        ("hi", "डॉ. शर्मा आज यहाँ आए थे और चले गए।"),
    ],
)
def test_an_abbreviation_a_decimal_or_a_date_ends_no_sentence(language: str, sentence: str) -> None:
    stop = "" if sentence[-1] in ".।" else "."
    rest = "Ünd the second one. " * 10
    assert cut(f"{sentence}{stop} {rest}", language)[0] == sentence + stop


@pytest.mark.parametrize(
    ("language", "first", "second"),
    [
        ("en", "Is it really true today? ", "Yes, it is."),
        ("en", "He shouted “Go away!” ", "She left at once."),
        ("en", "(He went away again.) ", "She stayed."),
        ("en", "That was all right… ", "She stayed."),
        ("es", "¿Dónde está la estación? ", "¡Allí está!"),
        ("de", "Er rief laut: „Komm mit!“ ", "Dann ging er."),
        ("fr", "Il dit : « Partez d'ici ! » ", "Elle partit."),
        ("ar", "كيف حالك اليوم يا صديقي؟ ", "أنا بخير."),
        ("hi", "आज मौसम बहुत अच्छा है। ", "हम चलेंगे।"),
        ("zh-cn", "今天天气真的很好。", "我们走吧！"),
        ("zh-cn", "我们去公园好不好？", "好的。"),
        ("zh-cn", "他大声地说：“走吧。”", "然后他走了。"),
        ("ja", "今日は天気がいいですね。", "行きましょう。"),
        ("ja", "すごいですね！", "本当に？"),
        ("ko", "오늘은 날씨가 좋네요. ", "나갈까요?"),
        ("ru", "Сегодня хорошая погода. ", "Пойдём?"),
    ],
)
def test_a_sentence_ends_with_its_mark_and_closing_quotes(
    language: str, first: str, second: str
) -> None:
    assert cut(first + f"{second} " * 6, language)[0] == first.strip()


def test_scripts_without_spaces_are_cut_at_marks_else_between_characters() -> None:
    text = "日本語の文章を書く時は、" * 8
    assert all(piece.endswith("、") for piece in cut(text, "ja"))
    text = "サーバーは漢字とOpenAIとPython3.11を読んでいる" * 20
    for language in ("ja", "zh-cn"):
        found = cut(text, language)
        assert "".join(found) == text
        assert sum(piece.count("OpenAI") for piece in found) == 20
        assert sum(piece.count("Python3.11") for piece in found) == 20
        assert not any(piece[0] in "ーっ、。" for piece in found)


def test_the_silence_after_a_piece_is_longer_after_a_paragraph() -> None:
    text = "One sentence stands here. " + "Then others come. " * 20 + "\n\nNext."
    found = list(pieces(text, "en", len))
    assert found[0] == Piece("One sentence stands here.", 0.25)
    assert found[-2].pause_s == 0.6
    assert found[-1] == Piece("Next.", 0.0)


# What is not spoken


@pytest.mark.parametrize(
    "text", ["", " \n", "...", "?!", "🙂", "—", "\x00\x07", "\u200b", "<break/>", "**", "<b></b>"]
)
def test_what_has_nothing_to_say_is_refused_before_any_piece(text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        pieces(text, "en", len)
    assert caught.value.message == "input has nothing in it that can be spoken."
    assert caught.value.param == "input"


@pytest.mark.parametrize("text", ["สวัสดีชาวโลก", "Γειά σου, Κόσμε!", "שלום", "<b>გამარჯობა</b>"])
def test_letters_that_no_language_here_has_are_refused_by_their_name(text: str) -> None:
    with pytest.raises(
        InvalidRequest, match=r"such as '.' \((THAI|GREEK|HEBREW|GEORGIAN)"
    ) as caught:
        pieces(text, "en", len)
    assert "English, Spanish" in caught.value.message
    assert (caught.value.param, caught.value.code) == ("input", "unsupported_language")


@pytest.mark.parametrize("text", ["π is 3", "12 ฿", "𝕳𝖎", "Ⅷ", "мир и שלום"])
def test_letters_beside_what_can_be_said_are_no_reason_to_say_nothing(text: str) -> None:
    assert cut(text)


# Made ready


@pytest.mark.parametrize(
    ("language", "text", "said"),
    [
        ("en", "Hello", "Hello."),
        ("en", "Hello.", "Hello."),
        ("en", "Really?!", "Really?"),
        ("en", "No!!!", "No!"),
        (
            "en",
            "“Moths? My dear, the sharpest of blades!”",
            "Moths? My dear, the sharpest of blades!",
        ),
        ("en", "(He left.)", "He left."),
        ("en", "He left (at last).", "He left at last."),
        ("en", "*sighs*", "sighs."),
        ("en", "Wait…", "Wait..."),
        ("en", "Well.... maybe,, yes", "Well... maybe, yes."),
        ("en", "I don’t know", "I don't know."),
        ("en", "when the rain had stopped,", "when the rain had stopped,"),
        ("en", "as follows:", "as follows,"),
        ("en", "— and then —", "and then,"),
        ("en", "-5 degrees", "-5 degrees."),
        ("en", "NASA and McDonald", "NASA and McDonald."),
        ("it", "Ciao a tutti.", "Ciao a tutti ;"),
        ("pt", "Olá. Sou o Sr. Silva, de 3.5 anos.", "Olá ; Sou o Sr. Silva, de 3.5 anos ;"),
        ("fr", "C'est vrai ?", "C'est vrai?"),
        ("es", "¡Vamos!", "¡Vamos!"),
        ("zh-cn", "你好", "你好。"),
        ("ja", "「行くよ。」", "行くよ。"),
        ("ja", "今日は、", "今日は、"),
        ("hi", "नमस्ते", "नमस्ते।"),
        ("ar", "كيف حالك؟", "كيف حالك؟"),
        ("ko", "안녕하세요", "안녕하세요."),
        ("ru", "«Да»", "Да."),
        ("en", "...", ""),
    ],
)
def test_a_piece_ends_in_the_one_mark_that_is_spoken_well(
    language: str, text: str, said: str
) -> None:
    assert spoken(text, language) == said
