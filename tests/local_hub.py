"""A small hub on this machine that speaks what the real one speaks, and misbehaves where it is told to."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

LARGE = 1000  # from here on a file is kept as the real hub keeps large ones, with its SHA-256


@dataclass
class Repo:
    """A repository, and how the hub is to answer for it."""

    files: dict[str, bytes]
    status: int = 200
    is_gated: bool = False
    stated_sha256: str = ""  # in place of the true one
    breaks: list[int] = field(
        default_factory=list
    )  # bytes sent before each of the next answers breaks
    ignores_range: bool = False
    is_terse: bool = False  # lists names only
    stalls_after: int | None = None  # bytes, then nothing until `go_on` is set
    go_on: threading.Event = field(default_factory=threading.Event)
    stalled: threading.Event = field(default_factory=threading.Event)
    token: str = ""  # wanted


@dataclass
class LocalHub:
    """Its repositories, its address, and what it was asked: method, path, Range, token."""

    repos: dict[str, Repo] = field(default_factory=dict)
    url: str = ""
    cdn_url: str = ""  # under another name, as the bytes are with the real one
    is_a_web_page: bool = False  # and no hub at all
    asked: list[tuple[str, str, str | None, str | None]] = field(default_factory=list)

    def ranges(self) -> list[str | None]:
        """The Range of each GET of a file's bytes, in order."""
        return [range_ for method, path, range_, _ in self.asked if path.startswith("/cdn/")]


@contextmanager
def local_hub(**repos: Repo) -> Iterator[LocalHub]:
    """A hub with these repositories (`owner__name`), until the end of the context."""
    hub = LocalHub({name.replace("__", "/"): repo for name, repo in repos.items()})

    class Handler(_Handler):
        served = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    hub.cdn_url = f"http://localhost:{server.server_address[1]}"
    threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
    ).start()
    try:
        yield hub
    finally:
        for repo in hub.repos.values():
            repo.go_on.set()
        server.shutdown()
        server.server_close()


def _entry(repo: Repo, path: str) -> dict[str, Any]:
    data = repo.files[path]
    if repo.is_terse:
        return {"rfilename": path}
    true_sha256, git_sha1 = _digests(data)
    entry: dict[str, Any] = {"rfilename": path, "size": len(data), "blobId": git_sha1}
    if len(data) >= LARGE:
        sha256 = repo.stated_sha256 or true_sha256
        entry["lfs"] = {"sha256": sha256, "size": len(data), "pointerSize": 134}
    return entry


@lru_cache
def _digests(data: bytes) -> tuple[str, str]:
    """The SHA-256, and git's SHA-1; computed once, for files may be large."""
    git = hashlib.sha1(b"blob %d\0" % len(data) + data)
    return hashlib.sha256(data).hexdigest(), git.hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: LocalHub

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_CONNECT(self) -> None:
        """Asked to be a proxy to a hub that speaks TLS: it only notes that."""
        self.served.asked.append(("CONNECT", self.path, None, None))
        self._send(502, b"")

    def do_GET(self) -> None:
        self._answer()

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:  # who asked has gone
            self.close_connection = True

    def _answer(self) -> None:
        url = urlsplit(self.path)
        token = self.headers.get("Authorization")
        self.served.asked.append((self.command, url.path, self.headers.get("Range"), token))
        parts = [unquote(part) for part in url.path.strip("/").split("/")]
        if self.served.is_a_web_page:
            self._send(200, b"<html>Welcome</html>")
        elif parts[:2] == ["api", "models"] and len(parts) == 2:
            words = parse_qs(url.query).get("search", [""])[0].lower()
            found = [
                {"id": name, "downloads": 7} for name in self.served.repos if words in name.lower()
            ]
            self._send(200, json.dumps(found).encode())
        elif parts[:2] == ["api", "models"]:
            self._info("/".join(parts[2:4]))
        elif parts[0] == "cdn":
            self._bytes(self.served.repos["/".join(parts[1:3])], "/".join(parts[3:]))
        else:
            self._resolve("/".join(parts[:2]), "/".join(parts[4:]), token)

    def _info(self, name: str) -> None:
        repo = self.served.repos.get(name)
        if repo is None:
            self._send(401, b"{}", {"X-Error-Message": "Invalid username or password."})
        elif repo.status != 200:
            self._send(repo.status, b"{}")
        else:
            info = {
                "id": name,
                "sha": "c0ffee" * 6 + "c0ff",
                "tags": ["gguf", "license:apache-2.0"],
                "siblings": [_entry(repo, path) for path in repo.files],
            }
            self._send(200, json.dumps(info).encode())

    def _resolve(self, name: str, path: str, token: str | None) -> None:
        repo = self.served.repos.get(name)
        if repo is None or path not in repo.files:
            self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
        elif repo.is_gated and token != f"Bearer {repo.token}":
            self._send(403 if token else 401, b"", {"X-Error-Code": "GatedRepo"})
        else:  # as the real one, to another place, which is told the size and hash beforehand
            entry = _entry(replace(repo, is_terse=False), path)
            headers = {
                "Location": f"{self.served.cdn_url}/cdn/{quote(f'{name}/{path}')}",
                "X-Linked-Size": str(entry["size"]),
                "X-Linked-Etag": f'"{entry.get("lfs", {}).get("sha256", entry["blobId"])}"',
            }
            self._send(302, b"", headers)

    def _bytes(self, repo: Repo, path: str) -> None:
        data, start, status, headers = repo.files[path], 0, 200, {}
        asked = self.headers.get("Range")
        if asked and not repo.ignores_range:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            status = 206 if start < len(data) else 416
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self._send(status, data[start:] if status != 416 else b"", headers, repo)

    def _send(
        self,
        status: int,
        body: bytes,
        headers: dict[str, str] | None = None,
        repo: Repo | None = None,
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if repo and repo.breaks:
            self.wfile.write(body[: repo.breaks.pop(0)])
            self.close_connection = True  # with less than was promised
        elif repo and repo.stalls_after is not None:
            self.wfile.write(body[: repo.stalls_after])
            repo.stalled.set()
            repo.go_on.wait(60)
            self.wfile.write(body[repo.stalls_after :])
        else:
            self.wfile.write(body)
