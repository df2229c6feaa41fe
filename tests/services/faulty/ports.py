# SPDX-License-Identifier: Apache-2.0
"""Ports behind which no server speaks HTTP."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
import time
from collections.abc import Iterator

from tests.services.faulty.exchange import LONG
from tests.services.faulty.server import Listener


@contextlib.contextmanager
def dripping(every: float) -> Iterator[int]:
    """A port that answers whatever comes with a byte of a TLS record now and then."""
    ended = threading.Event()

    def drip_to(sock: socket.socket) -> None:
        end = time.monotonic() + LONG
        with sock, contextlib.suppress(OSError):
            sock.sendall(b"\x16\x03\x03\x40\x00")  # a handshake of 16 KB begins
            while not ended.wait(every) and time.monotonic() < end:
                sock.sendall(b"x")

    class Dripper(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            drip_to(self.request)

    with Listener(("127.0.0.1", 0), Dripper) as listener:
        threading.Thread(target=lambda: listener.serve_forever(0.02), daemon=True).start()
        try:
            yield listener.server_address[1]
        finally:
            ended.set()
            listener.shutdown()


def closed_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
