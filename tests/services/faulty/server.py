# SPDX-License-Identifier: Apache-2.0
"""The server: it gives each request to the next behaviour of its script."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import ssl
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any

from tests.services.faulty.behaviours import ok
from tests.services.faulty.exchange import Behaviour, Handler, Request


class Listener(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that leave early are what this is for."""


class Listener6(Listener):
    address_family = socket.AF_INET6


class Server:
    """See the module.

    Attributes:
        usual: what requests meet when the script is used up.
        requests: those that were read whole, in order.
        connections: how many there were.
        context: for TLS, None without.
    """

    def __init__(
        self,
        usual: Behaviour | None = None,
        context: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
    ):
        self.usual = usual or ok()
        self.host = host
        self.requests: list[Request] = []
        self.connections = 0
        self.context = context
        self.lock = threading.Lock()
        self.ended = threading.Event()
        self.open: set[socket.socket] = set()
        self._script: deque[Behaviour] = deque()
        self._listener: Listener | None = None
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        scheme = "http" if self.context is None else "https"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}"

    @property
    def accepted(self) -> list[Request]:
        """The requests that were answered with success."""
        return [one for one in self.requests if one.status is not None and one.status < 300]

    def script(self, *behaviours: Behaviour) -> None:
        """Say what the next requests meet, one each."""
        with self.lock:
            self._script.extend(behaviours)

    def next(self) -> Behaviour:
        with self.lock:
            return self._script.popleft() if self._script else self.usual

    def start(self) -> None:
        """Listen, on the same port as before if there was one."""
        assert self._listener is None
        self.ended.clear()
        kind = Listener6 if ":" in self.host else Listener
        self._listener = kind((self.host, self.port), Handler)
        self._listener.owner = self  # type: ignore[attr-defined]
        self.port = self._listener.server_address[1]
        listener = self._listener
        threading.Thread(target=lambda: listener.serve_forever(0.02), daemon=True).start()

    def stop(self) -> None:
        """Refuse connections and end those that there are."""
        if self._listener is None:
            return
        listener, self._listener = self._listener, None
        self.ended.set()
        listener.shutdown()
        listener.server_close()
        with self.lock:
            live = list(self.open)
        for one in live:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(one, socket.SHUT_RDWR)


@contextlib.contextmanager
def serving(
    usual: Behaviour | None = None,
    context: ssl.SSLContext | None = None,
    host: str = "127.0.0.1",
) -> Iterator[Server]:
    """A server for the length of a block."""
    server = Server(usual, context, host)
    try:
        yield server
    finally:
        server.stop()
