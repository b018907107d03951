"""What the start of the server promises beyond its routes."""

import socket

from engine_room.server import listen


def test_small_writes_are_sent_at_once() -> None:
    with listen("127.0.0.1", 0) as listening:
        address = listening.getsockname()
        with socket.create_connection(address), listening.accept()[0] as accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
