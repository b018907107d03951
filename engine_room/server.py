"""The web server around the app: how it is told what to do, the socket it listens on, and how it stops."""

import contextlib
import logging
import os
import socket
import ssl
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn
from pydantic import ValidationError

from engine_room import memory_fit
from engine_room.catalogue import BUNDLED_ID, Catalogue
from engine_room.errors import InvalidRequest
from engine_room.offers import Offers
from engine_room.packages import OPTIMIZE, USE
from engine_room.settings import Settings
from engine_room.xtts.folder import default_folder
from engine_room.xtts.languages import language_code
from engine_room.xtts.readiness import cloning_status

log = logging.getLogger(__name__)


class Server(uvicorn.Server):
    """A server whose engines know at once that it stops.

    uvicorn waits for running answers, then cuts them off without a word. So the engines end them all a
    second before that: those that wait at once, those that run when the time is over, each with an
    error that the client can read. `close_engines` is given the seconds they have, on a thread of its own.
    """

    def __init__(
        self, config: uvicorn.Config, close_engines: Callable[[float], None], settings: Settings
    ) -> None:
        super().__init__(config)
        self._close_engines = close_engines
        self._settings = settings

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer from now on; what the log may still suggest keeps nobody waiting."""
        await super().startup(sockets)
        threading.Thread(target=suggest, args=(self._settings,), daemon=True).start()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """On SIGTERM or Ctrl-C, in the main thread between two instructions: nothing may wait here."""
        super().handle_exit(sig, frame)
        finish_within_s = max(0, (self.config.timeout_graceful_shutdown or 0) - 1)
        threading.Thread(target=self._close_engines, args=(finish_within_s,), daemon=True).start()


def settings_of_command_line() -> Settings:
    """The settings, and the log as they say; the program ends where one of them is wrong."""
    try:
        settings = Settings(_cli_parse_args=True)
    except ValidationError as error:
        sys.exit("\n".join(f"Setting {e['loc'][0]}: {e['msg']}." for e in error.errors()))
    try:
        language_code(settings.xtts_language)
    except InvalidRequest as error:
        sys.exit(f"Setting xtts_language: {error.message}")
    check_certificate(settings)
    level = settings.log_level.upper()
    logging.basicConfig(level=level, format="%(levelname)s:     %(message)s")
    return settings


def check_certificate(settings: Settings) -> None:
    """End the program where https is wanted and cannot be had."""
    certificate, key = settings.ssl_certfile, settings.ssl_keyfile
    if key and not certificate:
        sys.exit(
            "Setting ssl_keyfile: it needs ssl_certfile, the certificate that the key belongs to."
        )
    for name, path in (("ssl_certfile", certificate), ("ssl_keyfile", key)):
        if path and not os.access(path, os.R_OK):
            sys.exit(f"Setting {name}: {path} is not there, or cannot be read.")
    if not certificate:
        return
    try:
        # Asked for a password, a server without a terminal would wait for ever.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key or None, password="")
    except (ssl.SSLError, OSError, ValueError) as error:
        sys.exit(
            f"Settings ssl_certfile and ssl_keyfile: no certificate with its private key, both in PEM "
            f"format and without a password ({error})."
        )


def listen_or_exit(settings: Settings) -> socket.socket:
    """A listening socket, said in the log; the program ends where the port is taken."""
    try:
        listening = listen(settings.host, settings.port)
    except OSError as error:
        sys.exit(
            f"Cannot listen on {settings.host} port {settings.port}: {error.strerror}. "
            "Stop the program that uses it, or choose another port with --port."
        )
    announce(listening, settings)
    return listening


def serve(
    app: Any,
    close_engines: Callable[[float], None],
    listening: socket.socket,
    settings: Settings,
) -> None:
    """Answer on the socket until told to stop."""
    config = uvicorn.Config(
        app,
        log_level=settings.log_level.lower(),
        timeout_graceful_shutdown=settings.stop_timeout_s,
        ssl_certfile=settings.ssl_certfile or None,
        ssl_keyfile=settings.ssl_keyfile or None,
    )
    with contextlib.suppress(KeyboardInterrupt):
        Server(config, close_engines, settings).run(sockets=[listening])


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises OSError when the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server((host, port), family=family)
    # Without it each small write of a kept-alive connection waits 40 ms for the client's delayed ACK.
    # asyncio sets it by itself, but not on connections of a socket made by create_server.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def announce(listening: socket.socket, settings: Settings) -> None:
    """Say in the log where the server is, to whom it is open, and what keeps cloned voices silent."""
    port = listening.getsockname()[1]
    root = f"{'https' if settings.ssl_certfile else 'http'}://localhost:{port}"
    log.info("Serving on %s/v1 (the page: %s)", root, root)
    if not settings.openai_api_keys and settings.host not in ("127.0.0.1", "::1", "localhost"):
        log.warning(
            "No key is set and the server listens on %s: everyone who can reach this machine can use "
            "it. Set OPENAI_API_KEYS, or HOST=127.0.0.1.",
            settings.host,
        )
    cloning = cloning_status(settings)
    if cloning.state != "ready" and default_folder(settings.models_dir).path.is_dir():
        log.warning("Cloned voices do not speak. %s %s", cloning.reason, cloning.mend)


def suggest(settings: Settings) -> None:
    """Name in the log the best offered chat model that fits, while nobody has chosen or added one. It asks
    no network; loading llama.cpp, which tells of GPUs, takes a moment."""
    if not settings.suggest_model or settings.chat_model:
        return
    if any(file.id.lower() != BUNDLED_ID for file in Catalogue(settings).chat_files()):
        return
    free = memory_fit.free_memory(settings)
    best = memory_fit.best_that_fits(Offers(settings.models_dir).all(), settings, free)
    if best:
        need = memory_fit.need_of(best, settings)
        log.info(
            "The chat model that came with the install is tiny. This machine could run %s (%s):\n"
            "          %s %s",
            *(best.id, need.said(free), USE, best.id),
        )
    if not free.gpu_bytes and _gains_by_other_weights():
        log.info(
            "With other weights, the one that came with the install answers about 1.5 times as fast on CPUs\n"
            "          like this, and all but as well (perplexity 23.9 -> 24.0), for 145 MB of disk:\n"
            "          %s %s",
            *(OPTIMIZE, BUNDLED_ID),
        )


def _gains_by_other_weights() -> bool:
    try:
        from engine_room.llama_devices import multiplies_blocks  # late: it loads llama.cpp
    except (ImportError, OSError, RuntimeError) as error:
        log.debug("llama.cpp tells nothing of the CPU: %s", error)
        return False
    return multiplies_blocks()
