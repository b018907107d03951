"""Languages have many spellings."""

import pytest

from engine_room.errors import UnsupportedValue
from engine_room.transcription_languages import NAMES, language_code


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("en", "en"),
        ("EN_us", "en"),
        ("en-GB", "en"),
        ("eng", "en"),
        ("English", "en"),
        (" german ", "de"),
        ("ger", "de"),
        ("deu-AT", "de"),
        ("de_DE.UTF-8", "de"),
        ("zh-Hans-CN", "zh"),
        ("cmn", "zh"),
        ("Mandarin", "zh"),
        ("yue", "yue"),
        ("jv", "jw"),
        ("jw", "jw"),
        ("fil", "tl"),
        ("nb-NO", "no"),
        ("haitian creole", "ht"),
        ("iw", "he"),
        ("", None),
        ("auto", None),
    ],
)
def test_a_language_has_one_code_under_all_its_names(name: str, code: str | None) -> None:
    assert language_code(name, NAMES) == code


@pytest.mark.parametrize("name", ["klingon", "xx", "123", "e", "-", "de"])
def test_what_the_model_does_not_know_is_refused_with_what_it_knows(name: str) -> None:
    with pytest.raises(UnsupportedValue, match="use one of: en, fr"):
        language_code(name, ["fr", "en"])
