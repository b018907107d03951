"""A text is given the time that people take to read it, digits and symbols included, and not more."""

from itertools import pairwise

import pytest

from engine_room.xtts.languages import LANGUAGES
from engine_room.xtts.pace import MAX_AUDIO_TOKENS, TOKEN_S, Expected, expected, max_audio_tokens

# A sentence of about a line in every language, the same one, which readers say in 2.5 to 5 seconds.
SENTENCES = {
    "en": "The weather is lovely today, so we went for a walk.",
    "es": "El tiempo está muy bonito hoy, así que fuimos a caminar.",
    "fr": "Il fait très beau aujourd'hui, alors nous sommes allés marcher.",
    "de": "Das Wetter ist heute schön, deshalb gingen wir spazieren.",
    "it": "Oggi il tempo è bellissimo, quindi siamo andati a passeggio.",
    "pt": "Hoje o tempo está muito bom, por isso fomos passear.",
    "pl": "Dzisiaj jest piękna pogoda, więc poszliśmy na spacer.",
    "tr": "Bugün hava çok güzel, bu yüzden yürüyüşe çıktık.",
    "ru": "Сегодня прекрасная погода, и мы пошли на прогулку.",
    "nl": "Het weer is vandaag mooi, dus gingen we wandelen.",
    "cs": "Dnes je krásné počasí, tak jsme šli na procházku.",
    "ar": "الطقس جميل اليوم، لذلك ذهبنا في نزهة على الأقدام.",
    "zh-cn": "今天天气很好，所以我们出去散步了。",
    "hu": "Ma nagyon szép az idő, ezért sétálni mentünk.",
    "ko": "오늘은 날씨가 좋아서 우리는 산책을 나갔어요.",
    "ja": "今日は天気がよかったので、散歩に行きました。",
    "hi": "आज मौसम बहुत अच्छा है, इसलिए हम टहलने गए।",
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_sentence_takes_about_as_long_in_every_language(language: str) -> None:
    time = expected(SENTENCES[language], language)
    assert 2.5 <= time.likely_s <= 5
    assert time.min_s <= 2.5
    assert time.max_s >= 7


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_longest_piece_may_take_all_that_the_model_has_and_likely_needs_less(
    language: str,
) -> None:
    text = (SENTENCES[language] * 10)[: LANGUAGES[language].max_chars]
    assert expected(text, language).likely_s < MAX_AUDIO_TOKENS * TOKEN_S
    assert max_audio_tokens(text, language) > MAX_AUDIO_TOKENS * 0.9


@pytest.mark.parametrize("text", ["", "a", "Yes.", "12%", "好", "…", "x" * 10_000, "9" * 10_000])
@pytest.mark.parametrize("language", ["en", "ja", "zh-cn", "hi"])
def test_the_bounds_are_in_order_and_a_budget_is_never_empty_nor_over_the_models(
    text: str, language: str
) -> None:
    time = expected(text, language)
    assert 0 < time.min_s <= time.likely_s <= time.max_s
    assert 0 < max_audio_tokens(text, language) <= MAX_AUDIO_TOKENS == 602


def test_longer_text_takes_longer() -> None:
    text = (
        "It was 7 o'clock, and NASA's rocket stood at 98% of its $1,000,000 fuel; 好, かな, 한글."
    )
    times = [expected(text[:end], "en") for end in range(len(text))]
    for a, b in pairwise(times):
        assert a.likely_s <= b.likely_s
        assert a.max_s <= b.max_s


def test_a_word_alone_has_time_to_be_said_slowly_but_not_for_another_sentence() -> None:
    assert 1.5 < expected("Yes.", "en").max_s < 4


def test_digits_and_symbols_have_the_time_of_the_words_they_are() -> None:
    assert expected("97", "fr").max_s > 2  # quatre-vingt-dix-sept
    assert expected("1945", "en").likely_s > 1.2
    assert expected("$5 & 10%", "en").likely_s > expected("a5 b 10c", "en").likely_s
    assert expected("1945", "en").min_s < 1


def test_a_character_of_a_syllable_takes_longer_than_a_letter() -> None:
    assert expected("今天天气", "zh-cn").likely_s > expected("abcd", "en").likely_s * 2
    assert expected("漢字", "ja").likely_s > expected("かな", "ja").likely_s


def test_a_token_is_46_ms_and_the_models_most_is_28_seconds() -> None:
    assert round(TOKEN_S * 1000, 1) == 46.4
    assert round(MAX_AUDIO_TOKENS * TOKEN_S, 1) == 28.0
    assert max_audio_tokens("", "en") * TOKEN_S >= expected("", "en").max_s
    assert Expected(1, 2, 3).likely_s == 2
