"""The page: the files in `page/`, sent with headers that let nothing from elsewhere into it."""

import mimetypes
from typing import Any

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from engine_room.settings import PROJECT_DIR

PREFIX = "/page"
# Scripts, styles and requests from and to this server only, and nothing written inside the HTML itself: what
# a model or a file's name smuggles into the page cannot run, nor tell anyone.
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data: blob:",
    "media-src": "'self' blob:",
    "connect-src": "'self'",
    "font-src": "'self'",
    "worker-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
HEADERS = {
    "Content-Security-Policy": "; ".join(f"{name} {source}" for name, source in POLICY.items()),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # Asked for again each time, and mostly answered with 304: a new version is there at the next reload.
    "Cache-Control": "no-cache",
}
# Windows may have another type for it in its registry, and no browser runs a module of that.
mimetypes.add_type("text/javascript", ".js")


class Page(StaticFiles):
    """The files, below PREFIX; `index` is the page itself."""

    def __init__(self) -> None:
        super().__init__(directory=PROJECT_DIR / "page")

    def file_response(self, *arguments: Any, **options: Any) -> Response:
        """A file, or that it has not changed."""
        response = super().file_response(*arguments, **options)
        response.headers.update(HEADERS)
        return response

    async def index(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The page, as an ASGI app."""
        response = await self.get_response("index.html", scope)
        await response(scope, receive, send)


def is_of_page(path: str) -> bool:
    """Whether a path is the page's, and no route of the API."""
    return path == "/" or path.startswith(f"{PREFIX}/")
