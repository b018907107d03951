"""Routes that fetch an offered model when a request names it, where the setting FETCH_MODELS allows that.

A handler looks its model up first of all, and fails where it is not here. Then it is fetched, and the
handler asked once more: so no handler knows of this. Only what the catalogue offers is ever fetched so.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from engine_room import streams
from engine_room.downloads import DownloadTurn
from engine_room.errors import NotFound, Unavailable
from engine_room.schemas_models import Download

Answer = Callable[[Request], Coroutine[Any, Any, Response]]
# Below these, what is streamed is events, in which the progress can be told.
EVENTS = ("/completions", "/transcriptions", "/translations")
STREAMED_FORMATS = ("json", "text")  # of a transcription
YES = ("true", "1", "yes", "on")


class FetchOnUse(APIRoute):
    """A route whose model may come while its request waits."""

    def get_route_handler(self) -> Answer:
        """The handler, asked again when the model is there."""
        answer = super().get_route_handler()

        async def answered(request: Request) -> Response:
            try:
                return await answer(request)
            except (NotFound, Unavailable) as error:
                is_allowed = request.app.state.engines.settings.fetch_models == "on_use"
                if not (is_allowed and error.offer and request.method == "POST"):
                    raise
                return await _fetched_first(error.offer, request, answer)

        return answered


async def _fetched_first(name: str, request: Request, answer: Answer) -> Response:
    """The answer when the model is there, which is fetched by one download for all who wait for it; it goes
    on when they hang up. Raises what the download fails with."""
    engines = request.app.state.engines
    download = await streams.open_stream(request, engines.downloads, DownloadTurn(name))
    if await _wants_events(request):
        stop_timeout_s = engines.settings.stop_timeout_s
        return streams.sse_after(download, _progress, lambda: answer(request), stop_timeout_s)
    await download.collect()
    return await answer(request)


async def _wants_events(request: Request) -> bool:
    if not request.url.path.endswith(EVENTS):
        return False
    is_json = (
        request.headers["content-type"] == "application/json"
    )  # the door says it of all but forms
    fields: Any = await (request.json() if is_json else request.form())
    form = fields.get("response_format") or "json"
    is_streamed = str(fields.get("stream")).lower() in YES
    return is_streamed and (not isinstance(form, str) or form in STREAMED_FORMATS)


def _progress(download: Download) -> str:
    gb, of_gb = download.completed_bytes / 1e9, download.total_bytes / 1e9
    left = "" if download.seconds_left is None else f", {download.seconds_left:.0f} s left"
    rate = f", {download.bytes_per_s / 1e6:.1f} MB/s" if download.bytes_per_s else ""
    return f"fetching {download.root or download.model}: {gb:.2f} of {of_gb:.2f} GB{rate}{left}"
