# SPDX-License-Identifier: Apache-2.0
"""An HTTP server on loopback that does what a script says: answers, or fails in a chosen way.

    with faulty.serving() as server:
        server.script(faulty.status(503), faulty.hang, faulty.ok())
        ...
        assert server.accepted == [...]

The requests to come meet the behaviours of the script, one each; when it is used up they meet
`usual`, which says 200. `forward` makes it a proxy before a real service: faults can then be put
between the service and who asks it. `stop` and `start` make the port refuse connections for a
while.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import socketserver
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from email.message import Message
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit

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

    def __init__(self, handler: _Handler) -> None:
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


# -- what may happen to a request ----------------------------------------------------------------


def status(number: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Behaviour:
    """Answer with a status."""

    def behave(exchange: Exchange) -> None:
        request = exchange.read()
        request.status = number
        exchange.answer(number, headers or {}, body)

    return behave


def ok(body: bytes = b"", headers: Mapping[str, str] | None = None) -> Behaviour:
    """Answer 200."""
    return status(200, body, headers)


def reply(answer: Callable[[Request], tuple[int, Mapping[str, str], bytes]]) -> Behaviour:
    """Answer with what a function of the request says: status, headers, body."""

    def behave(exchange: Exchange) -> None:
        request = exchange.read()
        request.status, headers, body = answer(request)
        exchange.answer(request.status, headers, body)

    return behave


def garbage(data: bytes = b"\x00\xff\x16\x03 this is no HTTP\r\n\r\n\x00" * 20) -> Behaviour:
    """Answer with what is no HTTP, and end the connection."""

    def behave(exchange: Exchange) -> None:
        exchange.read()
        exchange.write(data)
        exchange._handler.close_connection = True

    return behave


def hang(exchange: Exchange) -> None:
    """Take the request and never answer."""
    exchange.read()
    exchange.wait()
    exchange.cut()


def slow(seconds: float) -> Behaviour:
    """Answer 200, but only after a while."""

    def behave(exchange: Exchange) -> None:
        request = exchange.read()
        exchange.wait(seconds)
        request.status = 200
        exchange.answer(200, {}, b"")

    return behave


def drip(every: float, data: bytes | None = None) -> Behaviour:
    """Answer a byte at a time, endlessly; without data the headers never end."""

    def behave(exchange: Exchange) -> None:
        exchange.read()
        end = time.monotonic() + LONG
        if data is not None:
            exchange.write(head(200, {"Content-Length": str(1 << 20)}))
        else:
            exchange.write(b"HTTP/1.1 200 OK\r\nX-Drip: ")
        while not exchange.ended.wait(every) and time.monotonic() < end:
            exchange.write(data or b"x")

    return behave


def huge(size: int) -> Behaviour:
    """Answer 200 with so many bytes."""

    def behave(exchange: Exchange) -> None:
        request = exchange.read()
        request.status = 200
        exchange.write(head(200, {"Content-Length": str(size)}))
        for _ in range(size // 65536 + 1):
            exchange.write(b"x" * 65536)

    return behave


def ignore(exchange: Exchange) -> None:
    """Take the request and say nothing; with `closing` the connection ends in good order."""
    exchange.read()


def cut_request(exchange: Exchange) -> None:
    """Die before the request is read."""
    exchange.cut()


def cut_amid_request(exchange: Exchange) -> None:
    """Die when half of the request's body is read."""
    exchange.read_half()
    exchange.cut()


def cut_before_reply(exchange: Exchange) -> None:
    """Take the whole request and die before the answer."""
    exchange.read()
    exchange.cut()


def half(exchange: Exchange) -> None:
    """Send half of an answer that says 200."""
    exchange.read()
    exchange.write(head(200, {"Content-Length": "1000"}) + b"x" * 10)


def cut_amid_reply(exchange: Exchange) -> None:
    """Die in the middle of an answer that says 200."""
    half(exchange)
    exchange.cut()


def closing(behaviour: Behaviour) -> Behaviour:
    """Behave so, and then close the connection without a word, as servers do with idle ones."""

    def behave(exchange: Exchange) -> None:
        behaviour(exchange)
        exchange._handler.close_connection = True

    return behave


def forward(url: str, *, lose: bool = False) -> Behaviour:
    """Hand the request to a real service and its answer back; or lose the answer."""
    target = urlsplit(url)

    def behave(exchange: Exchange) -> None:
        request = exchange.read()
        connection = http.client.HTTPConnection(target.hostname or "", target.port, timeout=LONG)
        try:
            headers = {k: v for k, v in request.headers.items() if k.lower() != "host"}
            connection.request(request.method, request.path, request.body, headers)
            found = connection.getresponse()
            body = found.read()
        finally:
            connection.close()
        if lose:
            exchange.cut()
            return
        request.status = found.status
        passed = ("connection", "content-length", "transfer-encoding", "keep-alive")
        kept = {k: v for k, v in found.getheaders() if k.lower() not in passed}
        exchange.answer(found.status, kept, body)

    return behave


# -- the server ----------------------------------------------------------------------------------


class _Listener(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that leave early are what this is for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Any
    timeout = LONG

    def setup(self) -> None:
        server: Server = self.server.owner
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
    setattr(_Handler, f"do_{_method}", _Handler._behave)


class Server:
    """See the module.

    Attributes:
        usual: what requests meet when the script is used up.
        requests: those that were read whole, in order.
        connections: how many there were.
        context: for TLS, None without.
    """

    def __init__(self, usual: Behaviour | None = None, context: ssl.SSLContext | None = None):
        self.usual = usual or ok()
        self.requests: list[Request] = []
        self.connections = 0
        self.context = context
        self.lock = threading.Lock()
        self.ended = threading.Event()
        self.open: set[socket.socket] = set()
        self._script: deque[Behaviour] = deque()
        self._listener: _Listener | None = None
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        scheme = "http" if self.context is None else "https"
        return f"{scheme}://127.0.0.1:{self.port}"

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
        self._listener = _Listener(("127.0.0.1", self.port), _Handler)
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
    usual: Behaviour | None = None, context: ssl.SSLContext | None = None
) -> Iterator[Server]:
    """A server for the length of a block."""
    server = Server(usual, context)
    try:
        yield server
    finally:
        server.stop()


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

    with _Listener(("127.0.0.1", 0), Dripper) as listener:
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
