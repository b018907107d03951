"""Images of the web, fetched for a message: from public addresses only, and no more than is allowed.

A request's URL is a stranger's word. It may name this machine's own services, or those of its network,
as may a name that resolves to them or a redirect: so each address is checked and then connected to as
it was checked, without a proxy.
"""

import http.client
import ipaddress
import socket
import ssl
import threading
import urllib.parse
from collections.abc import Callable
from contextlib import suppress

from engine_room.errors import InvalidImage, InvalidRequest, quoted

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
MAX_REDIRECTS = 3
SILENCE_S = 10  # for each thing the other side does
TOTAL_S = 30  # for one address, however slowly it sends
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
REDIRECTS = (301, 302, 303, 307, 308)


def is_public(address: Address) -> bool:
    """True for an address of the internet, not of this machine or its network."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        if inner is not None:
            return is_public(inner)
    return address.is_global and not address.is_multicast


def fetched(
    url: str, place: str, max_bytes: int, is_allowed: Callable[[Address], bool] = is_public
) -> bytes:
    """What an http(s) URL leads to, at most so large. Waits for the network. Raises InvalidRequest,
    InvalidImage."""
    try:
        for _ in range(MAX_REDIRECTS + 1):
            answer = _Answer(url, place, is_allowed)
            try:
                if answer.redirect is None:
                    return answer.read(max_bytes)
                url = urllib.parse.urljoin(url, answer.redirect)
            finally:
                answer.close()
    # ValueError: what is no URL, or what a socket says once it was shut down.
    except (OSError, http.client.HTTPException, ValueError) as error:
        why = str(error) or type(error).__name__
        raise InvalidImage(
            f"the image URL {quoted(url)} cannot be fetched: {why}.", place
        ) from error
    raise InvalidImage(f"the image URL {quoted(url)} is redirected too often.", place)


class _Answer:
    """The head of an answer to one GET, its connection still open."""

    def __init__(self, url: str, place: str, is_allowed: Callable[[Address], bool]) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise InvalidRequest(
                f"{place}: {quoted(url)} is no plain http(s) URL.",
                param=place,
                code="unsupported_value",
            )
        self._url, self._place = url, place
        is_tls = parts.scheme == "https"
        port = parts.port or (443 if is_tls else 80)
        address = self._checked(parts.hostname, port, is_allowed)
        self._response: http.client.HTTPResponse | None = None
        self._socket = socket.create_connection((str(address), port), SILENCE_S)
        self._timer = threading.Timer(TOTAL_S, self._break_off)
        self._timer.daemon = True
        self._timer.start()
        try:
            if is_tls:
                context = ssl.create_default_context()
                self._socket = context.wrap_socket(self._socket, server_hostname=parts.hostname)
            self._ask(parts, port)
        except BaseException:
            self.close()
            raise

    def _ask(self, parts: urllib.parse.SplitResult, port: int) -> None:
        kind = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        connection = kind(str(parts.hostname), port)
        connection.sock = self._socket
        path = urllib.parse.quote(parts.path or "/", safe="/%:@!$&'()*+,;=~")
        query = urllib.parse.quote(parts.query, safe="/?%:@!$&'()*+,;=~")
        headers = {"Accept": "image/*", "User-Agent": "openai-api", "Connection": "close"}
        connection.request("GET", f"{path}?{query}" if query else path, headers=headers)
        self._response = connection.getresponse()

    def _checked(self, host: str, port: int, is_allowed: Callable[[Address], bool]) -> Address:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        # Without the zone of a link-local address, which is none of the internet anyhow.
        addresses = [ipaddress.ip_address(str(each[4][0]).partition("%")[0]) for each in found]
        for address in addresses:
            if not is_allowed(address):
                raise InvalidRequest(
                    f"{self._place}: the image URL {quoted(self._url)} leads to {address}, which is no "
                    "public address; send the image itself as data:image/png;base64,…",
                    param=self._place,
                    code="unsupported_value",
                )
        return addresses[0]

    @property
    def redirect(self) -> str | None:
        """Where it sends us instead, if it does."""
        assert self._response
        is_redirect = self._response.status in REDIRECTS
        return self._response.getheader("Location") if is_redirect else None

    def read(self, max_bytes: int) -> bytes:
        """The body. Raises InvalidImage."""
        assert self._response
        if self._response.status != 200:
            raise InvalidImage(
                f"the image URL {quoted(self._url)} answers {self._response.status}.", self._place
            )
        body = self._response.read(max_bytes + 1)
        if len(body) > max_bytes:
            raise InvalidImage(
                f"the image at {quoted(self._url)} is larger than {max_bytes:,} bytes.", self._place
            )
        return body

    def _break_off(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Forget the rest of it."""
        self._timer.cancel()
        if self._response:
            self._response.close()
        self._socket.close()
