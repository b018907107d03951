"""Numbers are written so that the library's cleaners neither fail on them nor misread them."""

import random

import pytest

from engine_room.xtts.languages import LANGUAGES
from engine_room.xtts.numbers import HINDI, digit_by_digit, in_hindi, readable


@pytest.mark.parametrize(
    ("language", "text", "written"),
    [
        ("en", "In 1945, 3.14 and the 3rd of 1,000.", "In 1945, 3.14 and the 3rd of 1,000."),
        ("en", "The 0th of 0.00001", "The 0 th of 0. 0 0 0 0 1"),
        ("de", "Am 3. Mai 1945.", "Am 3. Mai 1945 ."),
        ("de", "Es war 1945. Dann nicht.", "Es war 1945 . Dann nicht."),
        ("cs", "Přijde 3. května 1945.", "Přijde 3 května 1945 ."),
        ("hu", "A 3. emelet 12345678,5 forint.", "A 3. emelet 12345678 egész 5 forint."),
        ("tr", "3.14 ve 1.000 ve 12.30, 3. kat", "3,14 ve 1.000 ve 12,30, 3. kat"),
        ("ko", "100번과 3번", "100 번과 3번"),
        ("zh-cn", "一共1,000,000元，3,5", "一共1000000元，3,5"),
        ("pl", "0º i 1000000ego", "0 º i 1000000 ego"),
        ("hi", "50 सैनिक थे, 12.5 किलो।", "पचास सैनिक थे, बारह दशमलव पाँच किलो।"),
        ("hi", "1,00,000 और 5kg", "एक लाख और पाँच kg"),
    ],
)
def test_a_number_is_written_as_the_cleaners_read_it(
    language: str, text: str, written: str
) -> None:
    assert readable(text, language) == written


def test_digit_by_digit_no_number_is_left_and_no_word_is_lost() -> None:
    text = "On 3.10.2024 at 12:30, 1,000.5 zł and x20y."
    said = "On 3 1 0 2 0 2 4 at 1 2 3 0 , 1 0 0 0 5 zł and x 2 0 y."
    assert digit_by_digit(text).split() == said.split()


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "शून्य"),
        (7, "सात"),
        (99, "निन्यानवे"),
        (100, "एक सौ"),
        (1945, "एक हज़ार नौ सौ पैंतालीस"),
        (2024, "दो हज़ार चौबीस"),
        (250_000, "दो लाख पचास हज़ार"),
        (10_000_000, "एक करोड़"),
        (10**15, "एक सौ नील"),
    ],
)
def test_hindi_numbers_are_words(number: int, words: str) -> None:
    assert in_hindi(number) == words


def test_there_are_a_hundred_different_hindi_words() -> None:
    assert len(HINDI) == len(set(HINDI)) == 100


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the library's own
@pytest.mark.parametrize("language", sorted(set(LANGUAGES) - {"ja", "zh-cn"}))
def test_the_librarys_cleaners_read_every_number(language: str) -> None:
    tokenizer = pytest.importorskip("TTS.tts.layers.xtts.tokenizer")
    from engine_room.xtts.text import spoken

    source = random.Random(language)
    shapes = [
        "{0}",
        "{0}.",
        "{0}. ok",
        "{0}, {1}",
        "{0}.{1}",
        "{0},{1}",
        "{0}%",
        "${0}",
        "{0}€",
        "£{0}",
    ]
    shapes += [
        "{0}th",
        "{0}st",
        "{0}º",
        "{0}ª",
        "{0}번",
        "{0}차 ok",
        "{0}a",
        "{0}e",
        "{0}ik",
        "-{0}",
        "{0}:{1}",
    ]
    for _ in range(1500):
        first, second = (
            source.choice([0, 1, 7, 10**digits, source.randint(0, 10**digits)])
            for digits in source.choices(range(1, 15), k=2)
        )
        shape = source.choice(shapes)
        said = spoken("a " + shape.format(first, second), language)
        read = tokenizer.multilingual_cleaners(said, language)
        assert not any(map(str.isdigit, read)), said
