"""Text is cut where nobody hears it, loses nothing, and what cannot be spoken is refused."""

import random
import string

import pytest

from engine_room.errors import InvalidRequest
from engine_room.speech_text import MAX_PIECE_CHARS, pieces, speakable_english


def cut(text: str, max_chars: int = MAX_PIECE_CHARS) -> list[str]:
    return list(pieces(text, max_chars))


def refusal(text: str, language: str = "") -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        speakable_english(text, language)
    return caught.value


def random_text(source: random.Random) -> str:
    """Words of up to twelve letters between all kinds of gaps."""
    gaps = [" ", " ", " ", ", ", ". ", "! ", "? ", "\n", "\n\n", "\t", "  ", "\u00a0", "; ", ' "']
    words = (source.choices(string.ascii_letters, k=source.randint(1, 12)) for _ in range(60))
    return "".join("".join(word) + source.choice(gaps) for word in words)


def test_pieces_are_never_empty_or_too_long_and_lose_or_cut_no_word() -> None:
    source = random.Random(7)
    for max_chars in [20, 21, 35, 100, 300] * 40:
        text = random_text(source)
        found = cut(text, max_chars)
        assert " ".join(found).split() == text.split()
        assert all(0 < len(piece) <= max_chars for piece in found)
        assert all(piece == piece.strip() for piece in found)


def test_only_a_word_longer_than_a_piece_is_cut_and_nothing_of_it_is_lost() -> None:
    assert cut("x" * 25 + " yes", 10) == ["x" * 10, "x" * 10, "xxxxx yes"]
    long = "".join(random.Random(7).choices(string.ascii_letters + "😀é", k=5000))
    assert "".join(cut(long, 300)) == long


def test_the_first_piece_is_one_sentence_and_the_others_are_filled() -> None:
    text = "Good morning. This is the second. This is the third. And the fourth."
    assert cut(text, 40) == [
        "Good morning.",
        "This is the second. This is the third.",
        "And the fourth.",
    ]


def test_a_long_sentence_is_cut_at_a_clause_else_at_a_word() -> None:
    assert cut("He came, he saw; then he conquered it all", 20) == [
        "He came, he saw;",
        "then he conquered it",
        "all",
    ]
    assert cut("one two three four five", 9) == ["one two", "three", "four five"]
    assert cut("one\ttwo\u00a0three\tfour", 9) == ["one\ttwo", "three", "four"]


@pytest.mark.parametrize(
    "sentence",
    [
        "Dr. Smith met Mr. and Mrs. Jones of St. Ives.",
        "J. R. R. Tolkien wrote it.",
        "Bring fruit, e.g. apples, i.e. food.",
        "Come at 3 p.m. on Oct. 5th.",
        "It costs 3.14 dollars at www.example.com today.",
    ],
)
def test_an_abbreviation_ends_no_sentence(sentence: str) -> None:
    assert cut(f"{sentence} Yes.") == [sentence, "Yes."]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("Really? Yes.", "Really?"),
        ("Stop! Now.", "Stop!"),
        ('"Go away." She left.', '"Go away."'),
        ("“Go away!” She left.", "“Go away!”"),
        ("Well… I think so.", "Well…"),
        ("A heading\nand its text.", "A heading"),
        ("(He left.) She stayed.", "(He left.)"),
    ],
)
def test_a_sentence_ends_with_its_mark_and_closing_quotes(text: str, first: str) -> None:
    assert cut(text)[0] == first


@pytest.mark.parametrize("text", ["", " ", "\n\n \t"])
def test_nothing_makes_no_pieces(text: str) -> None:
    assert cut(text) == []


def test_twenty_thousand_characters_without_a_space_are_cut_in_no_time() -> None:
    assert len(cut("a" * 20_000)) == 67
    assert len(cut("a." * 10_000)) == 67
    assert len("".join(cut("! " * 10_000)).replace(" ", "")) == 10_000


@pytest.mark.parametrize(
    "text",
    [
        "Hello, this is a test message.",
        "Hi",
        "OK",
        "42",
        "My name is Wolfgang Amadeus Mozart and I live in Salzburg.",
        "François Hollande met Angela Merkel in Strasbourg yesterday.",
        "The rendezvous at the café was a fait accompli.",
        "Dr. Müller from São Paulo visited Łódź in July.",
        "Jürgen Klopp signed Mohamed Salah for Liverpool.",
        "The naïve façade of the Château de Versailles impressed Señor García.",
        "C'est la vie, as they say in France.",
        "LOL omg this is so gr8!!!",
        "def main(): print('hello world')",
        "Please call +49 89 123456 or write to info@example.com.",
        "🎉 Party tonight! 🎉",
    ],
)
def test_english_with_foreign_names_and_words_is_spoken_as_it_is(text: str) -> None:
    assert speakable_english(text, "") == text


def test_foreign_letters_in_an_english_sentence_become_latin_ones() -> None:
    text = speakable_english("We visited Привет Street in Moscow last year.", "")
    assert text == "We visited Privet Street in Moscow last year."


@pytest.mark.parametrize(
    "text",
    [
        "Guten Tag, wie geht es Ihnen heute? Ich hoffe, dass es Ihnen gut geht.",
        "Bonjour, comment allez-vous aujourd'hui ? Je suis très content de vous voir.",
        "Dzień dobry, jak się masz dzisiaj? Mam nadzieję, że wszystko w porządku.",
        "Das ist ein kurzer Satz.",
        "Questo è un breve testo.",
        "Hoe gaat het met je vandaag?",
        "今日はいい天気ですね。",
        "你好，世界",
        "안녕하세요",
        "Привет, как дела?",
        "Γειά σου Κόσμε",
        "مرحبا بالعالم",
    ],
)
def test_another_language_is_refused_with_what_can_be_spoken(text: str) -> None:
    error = refusal(text)
    assert error.message.startswith("This voice speaks English only, and ")
    assert (error.param, error.code) == ("input", "unsupported_language")


@pytest.mark.parametrize("language", ["", "en", "EN", "en-US", "en_GB", "eng", "English", "auto"])
def test_english_may_be_asked_for_by_any_of_its_names(language: str) -> None:
    assert speakable_english("Hello.", language) == "Hello."


def test_another_language_that_is_asked_for_is_refused_by_its_name() -> None:
    error = refusal("Hello.", "fr-FR")
    assert "language 'fr-FR' was asked for" in error.message
    assert error.param == "language"


@pytest.mark.parametrize("text", ["", " \n", "...", "?!", "🙂", "—"])
def test_what_has_nothing_to_say_is_refused(text: str) -> None:
    assert refusal(text).message == "input has nothing in it that can be spoken."
