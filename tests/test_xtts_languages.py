"""A language is known under all its names, and is told from the text where nobody names it."""

import pytest

from engine_room.errors import InvalidRequest
from engine_room.xtts.languages import LANGUAGES, language_code, language_of


def told(text: str) -> str:
    return language_of(text, "", "", "")


def test_there_are_seventeen_languages() -> None:
    codes = "en es fr de it pt pl tr ru nl cs ar zh-cn hu ko ja hi".split()
    assert list(LANGUAGES) == codes
    assert [LANGUAGES[code].max_chars for code in ("en", "ja", "zh-cn")] == [250, 71, 82]


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_language_is_known_by_its_code_and_its_name_in_any_case(code: str) -> None:
    name = LANGUAGES[code].name
    for asked in (code, code.upper(), name, name.lower(), f" {code} "):
        assert language_code(asked) == code


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ("en-US", "en"),
        ("en_us", "en"),
        ("en_GB.UTF-8", "en"),
        ("zh", "zh-cn"),
        ("zh-TW", "zh-cn"),
        ("zh-Hans", "zh-cn"),
        ("zh_Hant_HK", "zh-cn"),
        ("pt-BR", "pt"),
        ("es-419", "es"),
        ("eng", "en"),
        ("deu", "de"),
        ("ger", "de"),
        ("fre", "fr"),
        ("cze", "cs"),
        ("chi", "zh-cn"),
        ("Deutsch", "de"),
        ("Français", "fr"),
        ("日本語", "ja"),
        ("", ""),
        ("  ", ""),
        ("auto", ""),
        ("Auto", ""),
    ],
)
def test_regions_spellings_and_iso_codes_are_understood(asked: str, code: str) -> None:
    assert language_code(asked) == code


@pytest.mark.parametrize(
    "asked", ["sv", "Klingon", "e n", "english please", "-en", "e", "en,de", "xx-US", "🙂"]
)
def test_an_unknown_language_is_refused_by_its_name_with_those_there_are(asked: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        language_code(asked)
    assert repr(asked) in caught.value.message
    assert "en (English), es (Spanish), fr (French)" in caught.value.message
    assert (caught.value.param, caught.value.code) == ("language", "unsupported_language")
    assert caught.value.status == 400


def test_the_request_goes_before_the_voice_the_voice_before_the_default() -> None:
    text = "Guten Tag, wie geht es Ihnen heute?"
    assert language_of(text, "fr-FR", "it", "es") == "fr"
    assert language_of(text, "", "it", "es") == "it"
    assert language_of(text, "auto", "Italian", "es") == "it"
    assert language_of(text, "", "", "es") == "es"
    assert language_of(text, "", "", "") == "de"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("The weather is lovely today, so we went for a walk.", "en"),
        ("El tiempo está muy bonito hoy y fuimos a caminar.", "es"),
        ("Il fait très beau aujourd'hui, nous sommes sortis.", "fr"),
        ("Das Wetter ist heute schön, wir gehen spazieren.", "de"),
        ("Oggi il tempo è bellissimo e siamo andati a passeggio.", "it"),
        ("Hoje o tempo está muito bom e fomos passear no parque.", "pt"),
        ("Dzisiaj jest piękna pogoda, więc poszliśmy na spacer.", "pl"),
        ("Bugün hava çok güzel, bu yüzden yürüyüşe çıktık.", "tr"),
        ("Сегодня прекрасная погода.", "ru"),
        ("Het weer is vandaag mooi, dus we gingen wandelen.", "nl"),
        ("Dnes je krásné počasí, tak jsme šli na procházku.", "cs"),
        ("الطقس جميل اليوم.", "ar"),
        ("今天天气很好。", "zh-cn"),
        ("Ma nagyon szép az idő, ezért sétálni mentünk.", "hu"),
        ("오늘은 날씨가 좋네요.", "ko"),
        ("今日は天気がいいですね。", "ja"),
        ("आज मौसम बहुत अच्छा है।", "hi"),
    ],
)
def test_every_language_is_told_from_a_sentence(text: str, code: str) -> None:
    assert told(text) == code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("好", "zh-cn"),
        ("はい", "ja"),
        ("네", "ko"),
        ("да", "ru"),
        ("OpenAIの新しいモデル", "ja"),
        ("大家好，我是 ChatGPT。", "zh-cn"),
        ("I love 東京 and its gardens very much.", "en"),
        ("He said привет to me in Moscow yesterday.", "en"),
    ],
)
def test_the_script_that_most_is_written_in_tells_the_language(text: str, code: str) -> None:
    assert told(text) == code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Dzień dobry", "pl"),
        ("Das ist gut.", "de"),
        ("Je t'aime beaucoup.", "fr"),
        ("Hoe gaat het?", "nl"),
    ],
)
def test_a_greeting_is_enough(text: str, code: str) -> None:
    assert told(text) == code


@pytest.mark.parametrize(
    "text",
    [
        "",
        "OK",
        "42",
        "Taxi!",
        "Dr. Müller",
        "…",
        "สวัสดี",
        "Pizza Margherita, please.",
        "Please call Mr. Giovanni Bianchi.",
        "Jürgen Klopp signed Mohamed Salah.",
        "def main(): print('hello world')",
    ],
)
def test_what_does_not_tell_is_english(text: str) -> None:
    assert told(text) == "en"


def test_only_the_beginning_of_a_long_text_is_looked_at() -> None:
    assert told("Das Wetter ist heute schön. " * 20_000) == "de"
