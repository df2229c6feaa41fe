# SPDX-License-Identifier: Apache-2.0
"""A small HTTP server for one page: TLS, a password, bounded connections.

Each connection is one request on a thread of its own, and is cut after a while whatever it does.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import gzip
import hmac
import logging
import socket
import socketserver
import ssl
import sys
import threading
from collections.abc import Callable, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs, urlsplit

LOG = logging.getLogger(__name__)

AT_ONCE: Final = 16
"""Requests that are answered at the same time; what comes beyond waits for a second."""

IDLE_AT_MOST: Final = 10.0
"""Seconds without a byte after which a connection is cut."""

LOOK_EVERY: Final = 30.0
"""Seconds between two looks whether it was stopped, should nothing wake it up."""

WITHIN: Final = 60.0
"""Seconds after which a connection is cut in any case."""

Render = Callable[[str, Sequence[str]], tuple[bytes, str]]
"""Takes an Accept header and the names that are wanted (none: all); returns the page and its
content type."""


class Address(NamedTuple):
    """Where to listen, as getaddrinfo says it."""

    family: socket.AddressFamily
    place: Any


class Access(NamedTuple):
    """Who may read.

    Attributes:
        username: of basic authentication, None without it.
        password: returns the password that goes with it.
    """

    username: str | None = None
    password: Callable[[], str] = str

    def allows(self, authorization: str) -> bool:
        """Return whether an Authorization header says the right user and password.

        Raises:
            OSError, UnicodeDecodeError: the password cannot be read.
        """
        if self.username is None:
            return True
        scheme, _, given = authorization.partition(" ")
        expected = base64.b64encode(f"{self.username}:{self.password()}".encode())
        told = given.strip().encode("utf-8", "replace")
        return hmac.compare_digest(told, expected) and scheme.lower() == "basic"


class Certificate:
    """The server's certificate, read again when its files change.

    Args:
        certfile: PEM, the chain included.
        keyfile: PEM; None: certfile has it.
        client_cafile: PEM of who signs for those that may read; None: any may.

    Raises:
        OSError, ssl.SSLError: a file cannot be read, or holds something else.
    """

    def __init__(self, certfile: str, keyfile: str | None, client_cafile: str | None) -> None:
        self._files = certfile, keyfile, client_cafile
        self._seen = self._changed()
        self._context = self._load()

    def wrap(self, connection: socket.socket) -> ssl.SSLSocket:
        """Shake hands as a server.

        Raises:
            OSError: the other side does not speak TLS, or is refused.
        """
        with contextlib.suppress(OSError):
            # Files that are half written are tried again at the next connection.
            if (seen := self._changed()) != self._seen:
                self._context = self._load()
                self._seen = seen
        return self._context.wrap_socket(connection, server_side=True)

    def _changed(self) -> list[int]:
        return [Path(file).stat().st_mtime_ns for file in self._files if file is not None]

    def _load(self) -> ssl.SSLContext:
        certfile, keyfile, client_cafile = self._files
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certfile, keyfile)
        if client_cafile is not None:
            context.load_verify_locations(client_cafile)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Listens from the moment it is made; `run` answers.

    Args:
        address: where.
        path: of the page.
        render: makes it.
        access: who may read.
        certificate: for TLS, None without it.

    Raises:
        OSError: nobody can listen there.
    """

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(
        self,
        address: Address,
        path: str,
        render: Render,
        access: Access,
        certificate: Certificate | None,
    ) -> None:
        self.path = path
        self.render = render
        self.access = access
        self._certificate = certificate
        self._free = threading.BoundedSemaphore(AT_ONCE)
        self.address_family = address.family
        super().__init__(address.place, _Handler)

    def server_bind(self) -> None:
        """Bind; ``[::]`` takes both versions of IP."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def run(self) -> threading.Thread:
        """Begin to answer, on a thread of its own."""
        run = functools.partial(self.serve_forever, LOOK_EVERY)
        thread = threading.Thread(target=run, name="prometheus", daemon=True)
        thread.start()
        return thread

    def stop(self) -> None:
        """Stop listening; who is being answered goes on. Only after `run`."""
        with contextlib.suppress(OSError):
            # It wakes the thread up.
            self.socket.shutdown(socket.SHUT_RDWR)
        self.shutdown()
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer on a thread if one is free; the ones in use end by themselves."""
        if not self._free.acquire(timeout=1.0):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread can be made
            self._free.release()
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer one request."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Shake hands if need be, and answer in time."""
        request.settimeout(IDLE_AT_MOST)
        # TLS takes the socket's descriptor away; the copy serves to cut.
        with request.dup() as copy:
            watch = threading.Timer(WITHIN, _cut, (copy,))
            watch.daemon = True
            watch.start()
            try:
                if self._certificate is None:
                    super().finish_request(request, client_address)
                else:
                    with self._certificate.wrap(request) as secure:
                        super().finish_request(secure, client_address)
            finally:
                watch.cancel()
                watch.join()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Note a request that failed: who reads the page knows best what happened."""
        del request
        level = logging.DEBUG if isinstance(sys.exception(), OSError) else logging.ERROR
        LOG.log(level, "a request from %s failed", client_address[0], exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    server_version = "ceilo_agent"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer with the page."""
        target = urlsplit(self.path)
        if not self._allowed():
            return
        if target.path != self.server.path:
            self._answer(HTTPStatus.NOT_FOUND, f"The metrics are at {self.server.path}\n".encode())
            return
        wanted = parse_qs(target.query).get("name[]", ())
        body, content_type = self.server.render(self.headers.get("Accept", ""), wanted)
        headers = {"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
        if _takes_gzip(self.headers.get("Accept-Encoding", "")):
            body = gzip.compress(body, 4, mtime=0)
            headers["Content-Encoding"] = "gzip"
        self._answer(HTTPStatus.OK, body, headers)

    do_HEAD = do_GET  # noqa: N815 - http.server's name

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        """Note a request; a scrape every few seconds is no news."""
        LOG.debug("%s: " + format, self.client_address[0], *args)

    def _allowed(self) -> bool:
        try:
            allowed = self.server.access.allows(self.headers.get("Authorization", ""))
        except (OSError, UnicodeDecodeError):
            LOG.warning("the page for Prometheus: the file of its password cannot be read")
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, b"The page's password cannot be read\n")
            return False
        if not allowed:
            challenge = {"WWW-Authenticate": 'Basic realm="ceilo_agent", charset="UTF-8"'}
            self._answer(HTTPStatus.UNAUTHORIZED, b"A user name and a password\n", challenge)
        return allowed

    def _answer(
        self, status: HTTPStatus, body: bytes, headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        ours = {"Content-Type": "text/plain; charset=utf-8", "Connection": "close"}
        for name, value in {**ours, **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _takes_gzip(accepted: str) -> bool:
    """Return whether an Accept-Encoding header names gzip (RFC 9110, 12.5.3)."""
    for part in accepted.lower().split(","):
        coding, _, weight = part.replace(" ", "").partition(";")
        if coding == "gzip":
            return weight not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def _cut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
