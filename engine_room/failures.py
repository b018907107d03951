"""The last failures: what clients were told, kept for whoever runs the server. Knows no web framework."""

import json
import time
from collections import deque
from contextlib import suppress

from engine_room.schemas import Failure

NUM_KEPT = 50
# So begins the last event of a stream that failed on its way.
LATE = b'data: {"error":'


class Failures:
    """The newest NUM_KEPT failures of one server. Any thread may call it."""

    def __init__(self) -> None:
        self._kept: deque[Failure] = deque(maxlen=NUM_KEPT)

    def note(self, method: str, path: str, status: int, request_id: str, message: str) -> None:
        """A client was told this."""
        self._kept.appendleft(
            Failure(
                created=int(time.time()),
                method=method,
                path=path,
                status=status,
                message=message,
                request_id=request_id,
            )
        )

    def latest(self) -> list[Failure]:
        """The newest first."""
        return list(self._kept)


def told(status: int, block: bytes) -> str | None:
    """What a block of an answer tells of a failure: the body of an error, or the last event of a stream;
    None for any other block."""
    if status < 400 and not block.startswith(LATE):
        return None
    with suppress(ValueError, KeyError, TypeError):
        return str(json.loads(block.removeprefix(b"data: "))["error"]["message"])
    return None
