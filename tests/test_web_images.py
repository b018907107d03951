"""Images of the web: fetched from public addresses only, whatever name or redirect leads elsewhere."""

import ipaddress
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from engine_room.errors import ApiError, InvalidImage, InvalidRequest
from engine_room.web_images import Address, fetched, is_public

PLACE = "messages[0].content"


class Pages(BaseHTTPRequestHandler):
    """What the tests fetch."""

    def do_GET(self) -> None:
        status, headers, body = {
            "/image%20one?size=9&x=%C3%A9": (200, {}, b"pixels"),
            "/moved": (302, {"Location": "/image one?size=9&x=%C3%A9"}, b""),
            "/home": (302, {"Location": "http://10.0.0.1/"}, b""),
            "/file": (302, {"Location": "file:///etc/passwd"}, b""),
            "/round": (301, {"Location": "/round"}, b""),
            "/large": (200, {}, b"x" * 1001),
        }.get(self.path, (404, {}, b"none"))
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def is_local(address: Address) -> bool:
    return address.is_loopback


def refusal(url: str) -> ApiError:
    with pytest.raises((InvalidImage, InvalidRequest)) as caught:
        fetched(url, PLACE, 1000, is_local)
    assert caught.value.param == PLACE
    return caught.value


def test_what_an_allowed_url_leads_to_is_fetched(site: str) -> None:
    for path in ("/image one?size=9&x=é", "/image%20one?size=9&x=%C3%A9", "/moved"):
        assert fetched(site + path, PLACE, 1000, is_local) == b"pixels"


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/nothing", "answers 404"),
        ("/large", "larger than 1,000 bytes"),
        ("/round", "redirected too often"),
        ("/home", "leads to 10.0.0.1, which is no public address"),
        ("/file", "no plain http"),
    ],
)
def test_what_cannot_be_fetched_is_refused_with_the_reason(site: str, path: str, says: str) -> None:
    assert says in refusal(site + path).message


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/",
        "http://",
        "http://user:word@example.com/",
        "http://[::1",
        "http://localhost:99999/",
        "http://127.0.0.1:1/",
        "http://a..b/",
        f"http://{'a' * 300}/",
        "http://127.0.0.1\r\nX: y/",
        "http://nobody.invalid/",
    ],
)
def test_a_url_that_is_none_or_leads_nowhere_is_the_clients_error(url: str) -> None:
    assert refusal(url).status == 400


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/", "http://localhost/", "http://[::1]/", "http://2130706433/"]
)
def test_this_machine_is_no_public_address(url: str) -> None:
    with pytest.raises(InvalidRequest, match="no public address"):
        fetched(url, PLACE, 1000)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("93.184.216.34", True),
        ("2606:4700::1111", True),
        ("::ffff:93.184.216.34", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("::ffff:127.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
    ],
)
def test_only_addresses_of_the_internet_are_public(address: str, expected: bool) -> None:
    assert is_public(ipaddress.ip_address(address)) is expected
