"""The other voices of the light engine: each a model of its own, fetched into a folder of `models/`.

They go by Kokoro's names, of whose voices they are learned, and by hibari's where OpenAI has no such name.
"""

from dataclasses import dataclass
from pathlib import Path

from engine_room.standard_voices import Character, StandardVoice


@dataclass(frozen=True, slots=True)
class FetchedVoice(StandardVoice):
    """A voice with a model of its own, which speaks as it is. `is_british` says how its words are read."""

    model: Path
    is_british: bool


# Id and folder, other name, description, file, whether it is British.
KNOWN = (
    ("af_kore", "kore", "An American woman, even", "af_kore.int8.onnx", False),
    ("am_fenrir", "fenrir", "An American man, strong", "am_fenrir_v2.int8.onnx", False),
    ("bf_emma", "emma", "A British woman", "bf_emma.int8.onnx", True),
    ("bm_fable", "", "A British man, a storyteller", "bm_fable.int8.onnx", True),
)


def fetched_voices(models_dir: Path) -> dict[str, FetchedVoice]:
    """Those that are there, by their ids."""
    found = {}
    for id_, _, description, file, is_british in KNOWN:
        path = models_dir / id_ / file
        if path.is_file():
            found[id_] = FetchedVoice(id_, description, Character(), path, is_british)
    return found


def fetched_id(name: str) -> str:
    """The id of the voice that a name means; the name itself where it means none."""
    wanted = name.strip().lower()
    return next((id_ for id_, other, *_ in KNOWN if wanted in (id_, other) and wanted), name)
