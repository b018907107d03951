"""How the server is, from how its parts are."""

from engine_room import schemas
from engine_room.jobs import Status

# Without these the server is whole all the same.
OPTIONAL_PARTS = {"voice_cloning", "embeddings"}


def health_of(parts: dict[str, Status]) -> schemas.Health:
    """`ok` when all that is not optional is ready; `unavailable` when nothing is or will be."""
    states = [status.state for name, status in parts.items() if name not in OPTIONAL_PARTS]
    if all(state == "ready" for state in states):
        overall = "ok"
    elif all(state == "unavailable" for state in states):
        overall = "unavailable"
    else:
        overall = "loading" if "loading" in states else "degraded"
    shown_parts = {
        name: schemas.PartStatus(status=part.state, reason=part.reason, mend=part.mend)
        for name, part in parts.items()
    }
    return schemas.Health(status=overall, parts=schemas.Parts(**shown_parts))
