"""The app without its routes: the door, CORS, the page, offline docs, every failure in OpenAI's shape."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi_offline import FastAPIOffline
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from engine_room import schemas
from engine_room.door import Door
from engine_room.errors import ApiError, InvalidRequest, MethodNotAllowed, NotFound
from engine_room.failures import Failures
from engine_room.metrics import Metrics
from engine_room.page import PREFIX, Page
from engine_room.settings import Settings

VERSION = "0.1.0"


def bare_app(
    settings: Settings, metrics: Metrics, failures: Failures, lifespan: Callable[[FastAPI], Any]
) -> FastAPI:
    """An app that answers nothing yet but the page; that in the right way, and counted."""
    app: FastAPI = FastAPIOffline(
        title="OpenAI-compatible local server",
        description="Chat, speech and transcription in one process.",
        version=VERSION,
        lifespan=lifespan,
        redoc_url=None,
        exception_handlers={
            ApiError: on_error,
            HTTPException: on_error,
            RequestValidationError: on_error,
            ValidationError: on_error,
        },
    )
    page = Page()
    app.router.routes.append(Route("/", GZipMiddleware(page.index), methods=["GET"]))
    app.mount(PREFIX, GZipMiddleware(page))
    # The last one added is the outermost: errors of the door carry CORS headers too.
    app.add_middleware(Door, settings=settings, metrics=metrics, failures=failures)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=["*"],
        allow_methods=["*"],
        allow_headers=["*"],
        expose_headers=["*"],
        allow_private_network=True,
        max_age=86_400,
    )
    return app


async def on_error(request: Request, error: Exception) -> Response:
    """The one exception handler: any failure, in OpenAI's shape."""
    if isinstance(error, HTTPException) and isinstance(error.__cause__, ApiError):
        error = error.__cause__  # FastAPI wraps what is raised while it reads a body
    if isinstance(error, RequestValidationError | ValidationError):
        error = schemas.first_complaint(error)
    if isinstance(error, HTTPException):
        kind = {404: NotFound, 405: MethodNotAllowed}.get(error.status_code)
        if kind is None:
            return _answer(InvalidRequest(error.detail), error.headers)
        where = f"{request.method} {request.url.path}"
        return _answer(
            kind(f"{where}: {error.detail}. See /docs for what there is."), error.headers
        )
    assert isinstance(error, ApiError)
    return _answer(error)


def _answer(error: ApiError, headers: Any = None) -> Response:
    return JSONResponse(error.body(), error.status, {**(headers or {}), **error.headers()})
