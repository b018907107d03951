"""Who may change something here, or see what others did: which pages in a browser, and which machines.

Chat, speech and transcription are open to every page and machine (or to every key). A page elsewhere on
the web that could add or delete a voice or a model behind the user's back is another matter: a form needs no
permission of ours to be sent. So is one that listens to what was spoken, or reads the failures, which quote
what was asked. Knows no web framework.
"""

from ipaddress import IPv6Address, ip_address
from typing import Any
from urllib.parse import urlsplit

from engine_room.errors import Forbidden, quoted
from engine_room.settings import Settings

# Method and path (below /v1) of what is not for everybody, and what it would do; what lies below the path
# counts too.
GUARDED = (
    ("POST", "/audio/voices", "change anything"),
    ("DELETE", "/audio/voices", "change anything"),
    ("POST", "/models", "change anything"),
    ("DELETE", "/models", "change anything"),
    ("GET", "/audio/speech/kept", "hear what others had spoken"),
    ("GET", "/errors", "read what failed"),
)
# Endings of names that only a local network gives out. Any other name may be led to this machine by its
# owner (DNS rebinding), and its page then looks like our own.
LOCAL_ENDINGS = (".localhost", ".local", ".lan", ".internal", ".home.arpa")


class Origins:
    """Decides by a request's head alone. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._trusted = set(settings.trusted_origins)
        self._has_keys = bool(settings.openai_api_keys)

    def check(self, scope: Any, headers: dict[bytes, bytes]) -> None:
        """Let a request pass that everybody may send, or that comes from where it may. The key, if one is
        set, has been checked before. `headers` have lower-case names. Raises Forbidden."""
        doing = guarded(scope["method"], scope["path"])
        if not doing:
            return
        origin = headers.get(b"origin", b"").decode("latin-1").lower()
        is_foreign = headers.get(b"sec-fetch-site") == b"cross-site"
        is_reading = scope["method"] in ("GET", "HEAD")
        if is_reading and not origin and not is_foreign:
            # A browser names none where a page reads from its own host; which may be ours in name only.
            origin = f"http://{headers.get(b'host', b'').decode('latin-1').lower()}"
        if (origin or is_foreign) and not self._trusts(origin, headers):
            raise Forbidden(
                f"A page of {quoted(origin or 'another site')} may not {doing} here; pages of this "
                "server and of localhost may. Add its origin to the setting TRUSTED_ORIGINS "
                "(such as TRUSTED_ORIGINS=http://192.168.1.5:3000) to let it."
            )
        if not self._has_keys and not _is_this_machine(scope):
            raise Forbidden(
                f"Without a key, only this machine itself may {doing} here. To do it from "
                f"{scope['client'][0]}, set OPENAI_API_KEYS on the server, and send one of the keys."
            )

    def _trusts(self, origin: str, headers: dict[bytes, bytes]) -> bool:
        if origin in self._trusted:
            return True
        host = headers.get(b"host", b"").decode("latin-1").lower()
        try:
            parts = urlsplit(origin)
            name = parts.hostname or ""
        except ValueError:
            return False
        if parts.scheme not in ("http", "https") or not name:
            return False
        if name == "localhost" or name.endswith(".localhost") or _is_loopback(name):
            return True
        # Who has a key needs no name to be known by.
        return parts.netloc == host and (self._has_keys or _is_local_name(name))


def guarded(method: str, path: str) -> str:
    """What a request with this method and path does that is not for everybody; empty when it is."""
    below = path.removeprefix("/v1")
    method = "GET" if method == "HEAD" else method
    return next(
        (
            doing
            for guarded_method, prefix, doing in GUARDED
            if method == guarded_method and (below == prefix or below.startswith(f"{prefix}/"))
        ),
        "",
    )


def _is_local_name(name: str) -> bool:
    return "." not in name or name.endswith(LOCAL_ENDINGS) or _address(name) is not None


def _address(name: str) -> Any:
    """The address that a host name or a peer is; None when it is none."""
    try:
        address = ip_address(name.strip("[]").partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _is_loopback(name: str) -> bool:
    address = _address(name)
    return address is not None and address.is_loopback


def _is_this_machine(scope: Any) -> bool:
    """Whether the client is on this machine: by loopback, or by the address that it reached us at."""
    client, server = scope.get("client"), scope.get("server")
    if not client:  # a Unix socket
        return True
    if _is_loopback(client[0]):
        return True
    return bool(server) and _address(client[0]) is not None and client[0] == server[0]
