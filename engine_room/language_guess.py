"""Which of some languages a text is probably written in.

Knows no voice: who asks says which languages there are, and how sure it wants to be.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any


@dataclass(frozen=True, slots=True)
class Guess:
    """A language by its two-letter code, and how probable it is among those asked about, 0…1."""

    language: str
    probability: float


def guess(text: str, languages: tuple[str, ...]) -> Guess:
    """The likeliest of the languages. Fewer of them make the guess at a short text better.

    The first call takes 0.3 s, to load the tables.
    """
    language, probability = _detector(languages).classify(text)
    return Guess(str(language), float(probability))


@cache
def _detector(languages: tuple[str, ...]) -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # late: 0.3 s to load its tables

    detector = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    detector.set_languages(languages)
    return detector
