# SPDX-License-Identifier: Apache-2.0
"""A request, and what a behaviour may do with it."""

from __future__ import annotations

import contextlib
import http.client
import socket
import struct
from collections.abc import Callable, Mapping
from email.message import Message
from http.server import BaseHTTPRequestHandler
from typing import Any

LONG = 60.0
"""Seconds after which a behaviour that waits gives up, whatever happens."""


class Request:
    """What was asked.

    Attributes:
        body: as it came, still compressed.
        status: what was answered, whether or not the answer got out; None if nothing was.
    """

    def __init__(self, method: str, path: str, headers: Message, body: bytes) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self.body = body
        self.status: int | None = None


class Exchange:
    """One request in the hands of a behaviour."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._request: Request | None = None
        self._muted = False
        self.ended = handler.server.ended
        self.connection: socket.socket = handler.connection

    def peek(self) -> Request:
        """Read the whole request; another behaviour may still take it."""
        if self._request is None:
            self._request = Request(
                self._handler.command, self._handler.path, self._handler.headers, self._body()
            )
        return self._request

    def read(self) -> Request:
        """Read the whole request and note it."""
        request = self.peek()
        with self._handler.server.lock:
            self._handler.server.requests.append(request)
        return request

    def read_half(self) -> None:
        """Read half of the body, and note nothing."""
        self._handler.rfile.read(int(self._handler.headers.get("Content-Length", 0)) // 2)

    def mute(self) -> Exchange:
        """Let no answer out from here on."""
        self._muted = True
        return self

    def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        if self._muted:
            return
        self._handler.wfile.write(data)
        self._handler.wfile.flush()

    def answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Send a whole reply."""
        self.write(head(status, {"Content-Length": str(len(body)), **headers}) + body)

    def cut(self) -> None:
        """End the connection with a reset, as the kernel does for a process that died."""
        option = struct.pack("ii", 1, 0)
        with contextlib.suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, option)
        self._handler.close_connection = True

    def wait(self, seconds: float = LONG) -> None:
        """Wait until the server ends or so many seconds are over."""
        self.ended.wait(seconds)

    def _body(self) -> bytes:
        headers, file = self._handler.headers, self._handler.rfile
        if "chunked" in headers.get("Transfer-Encoding", ""):
            parts = []
            while size := int(file.readline(), 16):
                parts.append(file.read(size))
                file.readline()
            file.readline()
            return b"".join(parts)
        return file.read(int(headers.get("Content-Length", 0)))


Behaviour = Callable[[Exchange], None]


def head(status: int, headers: Mapping[str, str]) -> bytes:
    """Return the first lines of a reply."""
    reason = http.client.responses.get(status, "")
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


class Handler(BaseHTTPRequestHandler):
    """Gives each request of a connection to the next behaviour."""

    protocol_version = "HTTP/1.1"
    server: Any
    timeout = LONG

    def setup(self) -> None:
        server = self.server.owner
        self.server = server
        if server.context is not None:
            self.request = server.context.wrap_socket(self.request, server_side=True)
        super().setup()
        with server.lock:
            server.connections += 1
            server.open.add(self.request)

    def finish(self) -> None:
        with self.server.lock:
            self.server.open.discard(self.request)
        with contextlib.suppress(OSError):
            super().finish()
        self.request.close()

    def log_message(self, *_: Any) -> None:
        pass

    def _behave(self) -> None:
        try:
            self.server.next()(Exchange(self))
        except OSError:
            self.close_connection = True


for _method in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"):
    setattr(Handler, f"do_{_method}", Handler._behave)
