"""A guess is the likeliest of the languages asked about, and says how sure it is."""

from engine_room.language_guess import guess


def test_a_sentence_tells_its_language_surely() -> None:
    found = guess("Das Wetter ist heute schön, wir gehen spazieren.", ("en", "de", "nl"))
    assert found.language == "de"
    assert 0.99 < found.probability <= 1


def test_only_the_languages_asked_about_are_guessed() -> None:
    text = "Das Wetter ist heute schön, wir gehen spazieren."
    assert guess(text, ("en", "nl")).language == "nl"
    assert guess(text, ("en", "de")).language == "de"


def test_a_text_without_a_word_is_a_guess_too() -> None:
    assert guess("", ("en", "de")).probability < 0.9
