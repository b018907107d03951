"""Anybody may ask; only this machine's own pages and programs, or who has a key, may change something."""

from typing import Any

import pytest
from pydantic import ValidationError

from engine_room.errors import Forbidden
from engine_room.origins import Origins, guarded
from engine_room.settings import Settings

OWN, NEIGHBOUR = "127.0.0.1", "192.168.1.7"


def is_let(
    method: str = "POST",
    path: str = "/v1/audio/voices",
    client: str | None = OWN,
    server: str = "127.0.0.1",
    keys: str = "",
    trusted: str = "",
    **headers: str,
) -> bool:
    """Whether a request from there passes, its key having been checked."""
    settings = Settings(_env_file=None, openai_api_keys=keys, trusted_origins=trusted)
    scope: dict[str, Any] = {
        "method": method,
        "path": path,
        "client": (client, 5000) if client else None,
        "server": (server, 8001),
    }
    sent = {"host": "localhost:8001", **headers}
    raw = {name.replace("_", "-").encode(): value.encode() for name, value in sent.items()}
    try:
        Origins(settings).check(scope, raw)
    except Forbidden:
        return False
    return True


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("POST", "/v1/audio/voices", True),
        ("POST", "/audio/voices/", True),
        ("DELETE", "/v1/audio/voices/bob", True),
        ("DELETE", "/audio/voices/bob", True),
        ("POST", "/v1/models/download", True),
        ("DELETE", "/models/mine", True),
        ("DELETE", "/v1/models/downloads/dl-1", True),
        ("GET", "/v1/models/downloads", False),
        ("GET", "/v1/audio/voices", False),
        ("GET", "/v1/audio/speech/kept", True),
        ("HEAD", "/audio/speech/kept/a.mp3", True),
        ("POST", "/v1/audio/speech", False),
        ("POST", "/v1/chat/completions", False),
        ("POST", "/v1/audio/voicesque", False),
    ],
)
def test_only_voices_models_and_what_was_spoken_are_guarded(
    method: str, path: str, expected: bool
) -> None:
    assert bool(guarded(method, path)) is expected


def test_what_changes_nothing_is_open_to_every_page_and_machine() -> None:
    for method, path in (("GET", "/v1/audio/voices"), ("POST", "/v1/audio/speech")):
        assert is_let(method, path, client=NEIGHBOUR, origin="http://evil.example")


def test_a_program_on_this_machine_may_change_things() -> None:
    for client in (OWN, "127.8.9.1", "::1", "::ffff:127.0.0.1", None):
        assert is_let(client=client)
    assert is_let(client=NEIGHBOUR, server=NEIGHBOUR)  # it used this machine's own address


@pytest.mark.parametrize(
    "origin",
    [
        *("http://localhost:3000", "https://localhost", "http://127.0.0.1:8000", "http://[::1]:80"),
        "http://app.localhost",
    ],
)
def test_pages_of_localhost_may_change_things(origin: str) -> None:
    assert is_let(origin=origin, sec_fetch_site="same-site")


@pytest.mark.parametrize(
    "origin",
    [
        *(
            "http://evil.example",
            "null",
            "file://",
            "http://localhost.evil.example",
            "http://",
            "x",
        ),
        *(
            "http://evil.example:8001",
            "http://127.0.0.1.evil.example",
            "http://[",
            "http://10.0.0.9",
        ),
        "chrome-extension://localhost",
    ],
)
def test_pages_from_elsewhere_may_not(origin: str) -> None:
    assert not is_let(origin=origin)
    assert not is_let("DELETE", "/v1/audio/voices/bob", origin=origin)
    assert not is_let(origin=origin, keys="k")


def test_a_browser_that_says_cross_site_without_an_origin_is_refused() -> None:
    assert not is_let(sec_fetch_site="cross-site")
    assert is_let(sec_fetch_site="same-origin")
    assert is_let(sec_fetch_site="none")


@pytest.mark.parametrize(
    "host", ["192.168.1.5:8001", "mybox:8001", "mybox.local:8001", "[fd00::5]:8001"]
)
def test_the_servers_own_page_may_under_every_name_of_a_local_network(host: str) -> None:
    assert is_let(host=host, origin=f"http://{host}")
    assert not is_let(host=host, origin="http://192.168.1.6:8001")


def test_a_name_of_the_wide_web_that_leads_here_is_not_taken_for_our_own() -> None:
    page = {"host": "evil.example", "origin": "http://evil.example"}
    assert not is_let(**page)
    assert is_let(
        keys="k", **page
    )  # behind a proxy with a name; without a key nobody came this far


def test_trusted_origins_may_whatever_their_case_or_last_slash() -> None:
    trusted = "https://Chat.example.com/, http://10.0.0.9:3000"
    assert is_let(trusted=trusted, origin="https://chat.example.com", sec_fetch_site="cross-site")
    assert is_let(trusted=trusted, origin="http://10.0.0.9:3000")
    assert not is_let(trusted=trusted, origin="http://10.0.0.9:3001")
    assert not is_let(trusted=trusted, origin="http://chat.example.com")


@pytest.mark.parametrize("value", ["*", "chat.example.com", "http://a/b", "ftp://a", "http://*.x"])
def test_what_is_no_origin_is_refused_at_the_start(value: str) -> None:
    with pytest.raises(ValidationError, match="is no origin"):
        Settings(_env_file=None, trusted_origins=value)


def test_another_machine_needs_a_key() -> None:
    assert not is_let(client=NEIGHBOUR)
    assert not is_let("DELETE", "/v1/audio/voices/bob", client="172.17.0.1")
    assert not is_let(client=NEIGHBOUR, origin="http://localhost:3000")
    assert is_let(client=NEIGHBOUR, keys="k")


def test_a_refusal_names_where_it_came_from_and_the_setting_that_mends_it() -> None:
    origins = Origins(Settings(_env_file=None, openai_api_keys=""))
    scope = {"method": "POST", "path": "/v1/audio/voices", "client": (NEIGHBOUR, 1), "server": None}
    with pytest.raises(Forbidden, match=r"192\.168\.1\.7, set OPENAI_API_KEYS"):
        origins.check(scope, {})
    with pytest.raises(Forbidden, match=r"'http://evil\.example' .* TRUSTED_ORIGINS"):
        origins.check(scope, {b"origin": b"http://evil.example"})


def test_what_failed_is_read_by_this_machine_and_its_own_pages_only() -> None:
    reading = {"method": "GET", "path": "/errors"}
    assert is_let(**reading)
    assert is_let(**reading, sec_fetch_site="same-origin")
    assert not is_let(**reading, origin="http://evil.example")
    assert not is_let(**reading, sec_fetch_site="cross-site")
    # A page whose name was led to this machine, and so looks like our own.
    assert not is_let(**reading, host="evil.example:8001")
    assert is_let(**reading, host="192.168.1.5:8001")
    assert not is_let(**reading, client=NEIGHBOUR)
    assert is_let(**reading, client=NEIGHBOUR, keys="k")
