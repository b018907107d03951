"""The thirteen standard voices: OpenAI's names, each with a description and a character.

All of them are one bundled voice (an American woman) made to sound like different people; how a
character is applied is `speech_light`'s business. Knows no model and no audio.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Character:
    """How a voice differs from the bundled one. The defaults are that voice itself.

    `pitch_ratio` multiplies the pitch (the bundled voice's median is 190 Hz), `intonation_ratio`
    its rise and fall around it (1 as spoken, below 1 flatter). `formant_ratio` stretches the
    spectrum along frequency: below 1 is a longer throat, above 1 a shorter one.
    `tilt_db_per_octave` makes it brighter (above 0) or darker. `breath_db` is the level of breath
    in the vowels, relative to them; None adds none. The spectrum is raised by `resonance_db` around
    `resonance_hz`, about an octave wide. `pace_ratio` multiplies the speed. `gain_db` makes all
    voices equally loud.
    """

    pitch_ratio: float = 1.0
    intonation_ratio: float = 1.0
    formant_ratio: float = 1.0
    tilt_db_per_octave: float = 0.0
    breath_db: float | None = None
    resonance_hz: float = 1000.0
    resonance_db: float = 0.0
    pace_ratio: float = 1.0
    gain_db: float = 0.0


@dataclass(frozen=True, slots=True)
class StandardVoice:
    """One of OpenAI's voice names, described in a few words."""

    id: str
    description: str
    character: Character


# Found by a random search, within bounds set by the descriptions. Over nine sentences Whisper base
# hears every word of every voice; the speaker encoder Resemblyzer gives two voices a cosine of 0.74
# on average and 0.85 at most (one voice on two sentences: 0.91); the quality model DistillMOS gives
# 3.7 (echo) to 4.6 (nova; the bundled voice as it is: 4.6). The gains bring each to -22 LUFS.
# fmt: off
_VOICES = (
    #                      pitch  inton.  formant   tilt  breath  res. Hz  res. dB   pace   gain
    StandardVoice("alloy", "Neutral and even",
                  Character(0.84,   0.85,    0.96,  -0.7,   None,     650,     3.1,  1.00,   3.6)),
    StandardVoice("ash", "A low, warm, husky man",
                  Character(0.56,   0.97,    0.92,  -2.5,  -15.9,    2000,    -3.0,  0.97,  -0.7)),
    StandardVoice("ballad", "A melodic man, rising and falling",
                  Character(0.75,   1.54,    0.81,   0.3,   None,    1420,    -3.7,  0.94,   5.8)),
    StandardVoice("cedar", "A calm and level man",
                  Character(0.63,   0.73,    1.00,   1.8,   None,    2240,     1.7,  0.95,   3.1)),
    StandardVoice("coral", "A warm and friendly woman",
                  Character(1.14,   1.17,    0.98,  -1.6,   None,    2060,     1.7,  1.03,   3.1)),
    StandardVoice("echo", "A deep and dark man",
                  Character(0.50,   0.80,    0.84,  -2.0,   None,    3000,     3.0,  1.00,  -0.1)),
    StandardVoice("fable", "A storyteller, expressive and round",
                  Character(0.81,   1.33,    0.87,  -1.9,   None,     700,    -4.9,  0.95,   3.0)),
    StandardVoice("marin", "A relaxed woman, airy",
                  Character(0.93,   0.87,    1.06,  -1.8,  -18.7,    2570,    -3.5,  0.95,   3.0)),
    StandardVoice("nova", "A clear and bright woman",
                  Character(1.04,   1.05,    1.01,   2.0,   None,     570,    -5.0,  1.00,   5.7)),
    StandardVoice("onyx", "A strong and deep man",
                  Character(0.50,   0.79,    0.89,   2.9,   None,     570,     4.1,  1.00,   3.0)),
    StandardVoice("sage", "A thoughtful woman, slow and level",
                  Character(0.94,   0.69,    0.88,   1.0,   None,    1620,     3.7,  0.93,   5.2)),
    StandardVoice("shimmer", "A soft and breathy woman",
                  Character(1.21,   1.09,    1.09,  -0.1,  -15.5,    2160,    -2.0,  0.96,   4.6)),
    StandardVoice("verse", "A lively man, quick and expressive",
                  Character(0.73,   1.31,    0.91,   1.9,   None,     620,    -5.1,  1.06,   6.3)),
)
# fmt: on

LOUDNESS_LUFS = -22.0
SPEECH_ROOT = "hibari-tts"  # the model that speaks them
STANDARD_VOICES = {voice.id: voice for voice in _VOICES}
