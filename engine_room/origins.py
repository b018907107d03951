"""Who may change something here, or read what others did: which pages in a browser, and which machines.

Chat, speech and transcription are open to every page and machine (or to every key). A page elsewhere on
the web that could add or delete a voice or a model behind the user's back is another matter: a form needs no
permission of ours to be sent. So is one that reads the failures, which quote what was asked. Knows no web
framework.
"""

from ipaddress import IPv6Address, ip_address
from typing import Any
from urllib.parse import urlsplit

from engine_room.errors import Forbidden, quoted
from engine_room.settings import Settings

# Method and path (below /v1) of what changes something; what lies below the path counts too.
CHANGING = (
    ("POST", "/audio/voices"),
    ("DELETE", "/audio/voices"),
    ("POST", "/models"),
    ("DELETE", "/models"),
)
# What tells of others' requests.
PRIVATE = (("GET", "/errors"), ("HEAD", "/errors"))
# Endings of names that only a local network gives out. Any other name may be led to this machine by its
# owner (DNS rebinding), and its page then looks like our own.
LOCAL_ENDINGS = (".localhost", ".local", ".lan", ".internal", ".home.arpa")


class Origins:
    """Decides by a request's head alone. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._trusted = set(settings.trusted_origins)
        self._has_keys = bool(settings.openai_api_keys)

    def check(self, scope: Any, headers: dict[bytes, bytes]) -> None:
        """Let a request pass that changes nothing and reads nothing private, or comes from where it may. The
        key, if one is set, has been checked before. `headers` have lower-case names. Raises Forbidden."""
        is_private = _is_among(PRIVATE, scope["method"], scope["path"])
        if not is_private and not changes(scope["method"], scope["path"]):
            return
        doing = "read what failed" if is_private else "change anything"
        origin = headers.get(b"origin", b"").decode("latin-1").lower()
        is_foreign = headers.get(b"sec-fetch-site") == b"cross-site"
        if is_private and not origin and not is_foreign:
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


def changes(method: str, path: str) -> bool:
    """Whether a request with this method and path changes something."""
    return _is_among(CHANGING, method, path)


def _is_among(routes: tuple[tuple[str, str], ...], method: str, path: str) -> bool:
    below = path.removeprefix("/v1")
    return any(
        method == guarded and (below == prefix or below.startswith(f"{prefix}/"))
        for guarded, prefix in routes
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
