"""How well the default voices are understood, and how unlike they are.

`python -m bench.speech_accuracy`: word error rate of forty sentences with numbers, dates, money and
abbreviations, read by each standard voice and written down by Whisper base; then the cosine of any two of the
guide's six voices, as the speaker encoder Resemblyzer hears them (`pip install resemblyzer`: no test needs
it). `--wrong` shows what was misheard.
"""

import argparse
import itertools
import re
import warnings
from collections.abc import Iterator
from importlib.util import find_spec

import jiwer
import numpy as np
from num2words import num2words
from numpy.typing import NDArray

from bench.likeness import Listener, cosine
from bench.spoken_sentences import SENTENCES
from engine_room.encoding import Sound
from engine_room.speech_english import written_out
from engine_room.speech_light import LightVoice
from engine_room.speech_text import pieces
from engine_room.standard_voices import STANDARD_VOICES

MAX_WORD_ERROR_RATE, MAX_COSINE = 0.04, 0.88
SIX_VOICES = ("alloy", "echo", "fable", "onyx", "nova", "shimmer")
WINDOW_S, SILENCE_S = 28.0, 0.8  # Whisper hears 30 s at a time, however little there is
NUM_LIKENESS_SENTENCES = 8  # half a minute of each voice
MONTHS = "january|february|march|april|may|june|july|august|september|october|november|december"
SIGNS = {"1/2": "one half", "3/4": "three quarters", "%": "percent", "°c": "degrees celsius"}
# How Whisper abbreviates what was said in full, and other spellings of the same sound.
VARIANTS = {
    "dr": "doctor", "mr": "mister", "mrs": "missus", "st": "street", "saint": "street", "ave": "avenue",
    "prof": "professor", "vs": "versus", "dept": "department", "no": "number", "km": "kilometers",
    "cm": "centimeters", "kg": "kilograms", "lbs": "pounds", "lb": "pounds", "ft": "feet", "mb": "megabytes",
    "min": "minutes", "mins": "minutes", "hp": "horsepower", "m": "meters", "oh": "zero", "litre": "liter",
    "approx": "approximately", "kilometres": "kilometers", "oclock": "o'clock", "kph": "kilometers per hour",
    "centimetres": "centimeters", "metres": "meters",
}  # fmt: skip


def words(text: str) -> str:
    """A text as bare words, numbers as they are said: "$5.99" is five dollars and ninety nine cents."""
    text = re.sub(r"\d\.\d\d(?= ?[ap]\.?m)|(?<=\bat )\d\d\.\d\d\b", _with_colon, text)
    text = written_out(text.replace("24-7", "24/7").replace("’", "'")).lower()
    text = re.sub(rf"\b({MONTHS}) (\d{{1,2}})(?!\d|st|nd|rd|th)", _day, text)
    text = re.sub(
        r"(\d+)% to (\d+%)", r"\1 to \2", text
    )  # "five to ten percent", as Whisper writes it
    text = re.sub(r"(\d{1,2}):(\d\d)", _time, text)
    for sign, said in SIGNS.items():
        text = text.replace(sign, f" {said} ")
    text = re.sub(r"\d{1,3}(?:,\d{3})+", _grouped, text)
    text = re.sub(r"(\d+(?:\.\d+)?)(st|nd|rd|th|s)?", _number, text)
    text = re.sub(r"[^\w']", " ", re.sub(r"(?<=\b\w)\.", " ", text).replace("-", " "))
    # Letters one by one are an abbreviation, however it is written.
    text = re.sub(r"\b(?:[a-z] )+[a-z]\b", _joined, " ".join(text.split()))
    return " ".join(VARIANTS.get(word, word) for word in text.split())


def _with_colon(time: re.Match[str]) -> str:
    return time[0].replace(".", ":", 1)


def _day(found: re.Match[str]) -> str:
    return f"{found[1]} {_said(found[2], 'ordinal')}"


def _grouped(number: re.Match[str]) -> str:
    return _said(number[0].replace(",", ""), "cardinal")


def _joined(letters: re.Match[str]) -> str:
    return letters[0].replace(" ", "")


def _said(number: str, kind: str) -> str:
    said = num2words(float(number) if "." in number else int(number), to=kind)
    return str(said).replace(" and ", " ").replace(",", "")


def _number(found: re.Match[str]) -> str:
    number, ending = found[1], found[2]
    if len(number) == 4 and number.startswith("10") and number.isdigit():  # as in 1920 by 1080
        return f" ten {_said(number[2:], 'cardinal')} "
    is_year = len(number) == 4 and number.isdigit() and "1100" <= number <= "2099"
    if ending == "s":
        said = _said(number, "year" if is_year else "cardinal")
        return f" {said[:-1]}ies " if said.endswith("ty") else f" {said}s "
    return f" {_said(number, 'ordinal' if ending else 'year' if is_year else 'cardinal')} "


def _time(found: re.Match[str]) -> str:
    hour, minute = int(found[1]), int(found[2])
    minutes = f"oh {minute}" if 0 < minute < 10 else str(minute) if minute else "o'clock"
    return f" {hour} {minutes} "


def spoken(light: LightVoice, text: str, voice: str) -> NDArray[np.float32]:
    """A text as the server speaks it."""
    character = STANDARD_VOICES[voice].character
    parts = [light.speak(piece, character, seed=1) for piece in pieces(written_out(text))]
    return np.concatenate(parts)


def windows(light: LightVoice, voice: str) -> Iterator[tuple[str, Sound]]:
    """The sentences in groups that Whisper hears at once: the words to be heard, and the sound."""
    silence = np.zeros(int(SILENCE_S * light.sample_rate_hz), np.float32)
    expected: list[str] = []
    sounds: list[NDArray[np.float32]] = []
    for sentence, said in SENTENCES.items():
        samples = spoken(light, sentence, voice)
        if sum(map(len, sounds)) + len(samples) > WINDOW_S * light.sample_rate_hz:
            yield " ".join(expected), Sound(np.concatenate(sounds), light.sample_rate_hz)
            expected, sounds = [], []
        expected.append(said)
        sounds += [samples, silence]
    yield " ".join(expected), Sound(np.concatenate(sounds), light.sample_rate_hz)


def print_accuracy(light: LightVoice, voices: list[str], shows_wrong: bool) -> None:
    """A row for each voice."""
    listener = Listener()
    print(f"| voice | word error rate (reach: <= {MAX_WORD_ERROR_RATE:.0%}) |\n|---|---|")
    for voice in voices:
        heard = [
            (words(said), words(listener.heard(sound))) for said, sound in windows(light, voice)
        ]
        result = jiwer.process_words([said for said, _ in heard], [text for _, text in heard])
        print(f"| {voice} | {result.wer:.1%} |", flush=True)
        if shows_wrong:
            print(jiwer.visualize_alignment(result, show_measures=False, skip_correct=True))


def print_likeness(light: LightVoice, voices: tuple[str, ...] = SIX_VOICES) -> None:
    """A row for each pair of voices, the likest first."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its libraries use each other's deprecated functions
        from resemblyzer import VoiceEncoder, preprocess_wav
    encoder = VoiceEncoder("cpu", verbose=False)
    text = " ".join(list(SENTENCES)[:NUM_LIKENESS_SENTENCES])
    heard = {
        voice: encoder.embed_utterance(
            preprocess_wav(spoken(light, text, voice), source_sr=light.sample_rate_hz)
        )
        for voice in voices
    }
    print(f"| two voices | cosine (reach: <= {MAX_COSINE}) |\n|---|---|")
    pairs = {
        pair: cosine(heard[pair[0]], heard[pair[1]]) for pair in itertools.combinations(voices, 2)
    }
    for (one, other), value in sorted(pairs.items(), key=lambda item: -item[1]):
        print(f"| {one}, {other} | {value:.2f} |")


def main() -> None:
    """Both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--voices", nargs="+", choices=STANDARD_VOICES, default=list(STANDARD_VOICES)
    )
    parser.add_argument("--wrong", action="store_true", help="show what was misheard")
    options = parser.parse_args()
    light = LightVoice()
    print_accuracy(light, options.voices, options.wrong)
    if not find_spec("resemblyzer"):
        parser.exit(1, "Likeness is not measured: pip install resemblyzer\n")
    print_likeness(light)


if __name__ == "__main__":
    main()
