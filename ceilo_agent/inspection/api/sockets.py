# SPDX-License-Identifier: Apache-2.0
"""Connections whose reading ends at a moment, however the other side spreads its bytes.

A timeout of a socket holds for one read: who sends a byte now and then keeps a request alive for
ever. Here each read has what is left until the thread's deadline.
"""

from __future__ import annotations

import contextlib
import functools
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

# Who does not want certificates looked at has said so; the file is the place to be told of it.
urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)

_THREAD = threading.local()


@contextlib.contextmanager
def until(deadline: float) -> Iterator[None]:
    """Let this thread read until a moment (CLOCK_MONOTONIC seconds)."""
    _THREAD.deadline = deadline
    try:
        yield
    finally:
        del _THREAD.deadline


def _left() -> float | None:
    """Return the seconds until this thread's deadline, None without one.

    Raises:
        TimeoutError: it is over.
    """
    deadline = getattr(_THREAD, "deadline", None)
    if deadline is None:
        return None
    left: float = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left


class _Socket(socket.socket):
    def recv_into(self, *arguments: Any, **more: Any) -> int:
        self.settimeout(_left())
        return super().recv_into(*arguments, **more)


class _TlsSocket(ssl.SSLSocket):
    def recv_into(self, *arguments: Any, **more: Any) -> int:
        self.settimeout(_left())
        return super().recv_into(*arguments, **more)


class _Connection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        plain = super()._new_conn()
        bounded = _Socket(plain.family, plain.type, plain.proto, plain.detach())
        bounded.settimeout(_left())  # what a TLS handshake has, all of it
        return bounded


class _TlsConnection(_Connection, HTTPSConnection):
    pass


class PlainPool(HTTPConnectionPool):
    """Connections without TLS."""

    ConnectionCls = _Connection


class TlsPool(HTTPSConnectionPool):
    """Connections with TLS; its context must come from `tls_context`."""

    ConnectionCls = _TlsConnection


def stamp(paths: Iterable[str | None]) -> tuple[int, ...]:
    """Return what tells the content of files from that of another time.

    Raises:
        OSError: one cannot be looked at.
    """
    return tuple(Path(path).stat().st_mtime_ns for path in paths if path)


@functools.lru_cache(maxsize=64)  # to read all authorities takes some 10 ms
def tls_context(
    cafile: str | None,
    certfile: str | None,
    keyfile: str | None,
    insecure: bool,
    stamped: tuple[int, ...],
) -> ssl.SSLContext:
    """Return what a `TlsPool` needs; all that want the same share it.

    Args:
        cafile: of the authorities that sign the server's certificate; None: those that Python's
            requests knows, as for Keystone.
        certfile: of the certificate that is shown to the server, PEM.
        keyfile: of its key; None: certfile has both.
        insecure: take the server's certificate whoever signed it.
        stamped: what `stamp` says of the files; with another they are read again.

    Raises:
        OSError: a file cannot be read, or is none of the kind.
    """
    del stamped
    import certifi  # noqa: PLC0415 - only where TLS is spoken

    context = ssl.create_default_context(cafile=cafile or certifi.where())
    context.sslsocket_class = _TlsSocket
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certfile:
        context.load_cert_chain(certfile, keyfile)
    return context
