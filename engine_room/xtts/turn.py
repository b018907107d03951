"""What the XTTS engine is asked: a text to be spoken in somebody's voice."""

from dataclasses import dataclass, field

from engine_room.clones import ClonedVoice
from engine_room.xtts.folder import XttsFolder
from engine_room.xtts.sampling import SamplingChanges
from engine_room.xtts.studio import StudioVoice as StudioVoice


@dataclass(frozen=True, slots=True)
class XttsTurn:
    """One request. The items of its answer are blocks of bytes of `format_name`: one with the whole file,
    or, with `stream`, one as often as there is sound. `language` is the request's, or empty; a `seed` below
    0 is drawn."""

    folder: XttsFolder
    text: str
    language: str
    voice: ClonedVoice | StudioVoice
    speed: float
    format_name: str
    stream: bool
    seed: int = -1
    sampling: SamplingChanges = field(default_factory=SamplingChanges)
