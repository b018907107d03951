"""What speech engines say: blocks of sound, and the text they are of."""

from dataclasses import dataclass

from engine_room.encoding import Sound

SILENT = 0.003  # below it nothing is heard (-50 dB)


@dataclass(frozen=True, slots=True)
class SpokenBlock:
    """A block of sound, in order. The first of a piece of text has that text. The tokens are those that the
    engine has read and said for it, of its own kind: characters and frames, or text and audio tokens."""

    sound: Sound
    text: str = ""
    num_text_tokens: int = 0
    num_audio_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Caption:
    """A piece of text and when it is heard, in seconds from the beginning."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Spoken:
    """What is known of an answer at its end."""

    duration_s: float
    num_text_tokens: int
    num_audio_tokens: int
