"""What the XTTS engine is asked: a text to be spoken in somebody's voice."""

from dataclasses import dataclass, field

from engine_room.clones import ClonedVoice
from engine_room.xtts.folder import XttsFolder
from engine_room.xtts.sampling import SamplingChanges
from engine_room.xtts.studio import StudioVoice as StudioVoice


@dataclass(frozen=True, slots=True)
class XttsTurn:
    """One text in one voice. The items of its answer are SpokenBlocks: one a sentence, or, with `stream`, as
    often as there is sound. `language` is the request's, or empty; a `seed` below 0 is drawn; `pause_ratio`
    multiplies the pauses between sentences."""

    folder: XttsFolder
    text: str
    language: str
    voice: ClonedVoice | StudioVoice
    speed: float
    stream: bool
    seed: int = -1
    sampling: SamplingChanges = field(default_factory=SamplingChanges)
    pause_ratio: float = 1.0
