"""Which projector file (mmproj) belongs to which chat model, told by their names.

A projector makes vectors of images for the one model it was trained with; another model would take
them for nonsense. So a name has to say whose it is, unless there is no choice.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from engine_room.gguf import QUANT_SUFFIX, kind_of

# What else projectors have in their names.
FILLERS = {"mmproj", "model", "ggml", "gguf", ""}
PROJECTOR = "mmproj"


def is_projector(path: Path) -> bool:
    """Whether a GGUF file is one, by its name or by what it says itself."""
    return PROJECTOR in path.stem.lower() or kind_of(path) == "projector"


def projectors_of(models: Sequence[Path], ggufs: Sequence[Path]) -> dict[Path, Path]:
    """The projector of each chat model that has one: named like it, whatever the quantisation
    (`mmproj-<model>-f16.gguf`, `<model>-mmproj.gguf`); one without a model's name (`mmproj-F16.gguf`) only
    where there is one model. Of several the first by name."""
    by_name: dict[str, Path] = {}
    for path in ggufs:
        if is_projector(path):
            by_name.setdefault(model_in(path.stem), path)
    names = {model: model_in(model.stem) for model in models}
    found = {model: by_name[name] for model, name in names.items() if name in by_name}
    if not found and len(models) == 1 and "" in by_name:
        return {models[0]: by_name[""]}
    return found


def projector_name(model: str, quantisation: str) -> str:
    """The name of a file that is the projector of a model, whose file's stem this is."""
    quantised = re.search(QUANT_SUFFIX.pattern, model, re.IGNORECASE)
    parts = [PROJECTOR, model[: quantised.start()] if quantised else model, quantisation]
    return f"{'-'.join(part for part in parts if part)}.gguf"


def model_in(stem: str) -> str:
    """The model's name in that of a file, which may be its own or its projector's."""
    parts = re.split(r"[.\-_]", stem.lower())
    name = "-".join(part for part in parts if part not in FILLERS)
    quantised = QUANT_SUFFIX.search(f"-{name}")
    return f"-{name}"[: quantised.start()].strip("-") if quantised else name
