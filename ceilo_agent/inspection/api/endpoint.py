# SPDX-License-Identifier: Apache-2.0
"""One server: its connections, how many requests it has at a time, and how many a second."""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import urllib3

from ceilo_agent.inspection.api.answer import Answer, Ask, Origin, Unanswered, is_late, reason_of
from ceilo_agent.inspection.api.large import Large
from ceilo_agent.inspection.api.sockets import PlainPool, TlsPool, stamp, tls_context, until
from ceilo_agent.inspection.api.unpacking import PART, unpacking_of

_FAULTS: Final = (OSError, ValueError, urllib3.exceptions.HTTPError, zlib.error)
_DEAD: Final = (
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ConnectTimeoutError,
    urllib3.exceptions.LocationParseError,
    urllib3.exceptions.SSLError,
)


class Endpoint:
    """Asks one server; several threads may.

    Args:
        origin: the server.
        concurrency: requests at a time.
        rate: requests a second, None: any.
        large: lets few answers be large at a time.

    Raises:
        Unanswered: a file for TLS cannot be read.
    """

    def __init__(self, origin: Origin, concurrency: int, rate: float | None, large: Large) -> None:
        self.origin = origin
        self.limits = concurrency, rate
        self.stamp = stamp_of(origin)
        self._large = large
        self._slots = threading.BoundedSemaphore(concurrency)
        self._every = 1 / rate if rate else 0.0
        self._next = 0.0
        self._pace = threading.Lock()
        settings: dict[str, Any] = {"maxsize": concurrency, "retries": False}
        if origin.scheme == "http":
            self._pool: Any = PlainPool(origin.host, origin.port, **settings)
            return
        try:
            context = tls_context(*origin.tls, self.stamp)
        except OSError as error:
            raise _unusable(error) from error
        if origin.tls.insecure:
            settings |= {"assert_hostname": False, "cert_reqs": "CERT_NONE"}
        self._pool = TlsPool(origin.host, origin.port, ssl_context=context, **settings)

    def ask(
        self, ask: Ask, url: str, headers: Mapping[str, str], deadline: float, limit: str
    ) -> Answer:
        """Send one request and read its whole answer, whatever its status.

        Args:
            ask: what is asked, and what it may cost.
            url: of this server; after a redirect another than that of `ask`.
            headers: all that are sent.
            deadline: CLOCK_MONOTONIC seconds; all must be read by then.
            limit: the same in words.

        Raises:
            Unanswered: nothing came, or not all of it in time, or too much.
        """
        began = time.monotonic()
        if not self._slots.acquire(timeout=max(0.0, deadline - began)):
            raise Unanswered("no time was left: the requests before it took too long")
        try:
            self._keep_pace(deadline)
            return self._exchange(ask, url, headers, deadline, limit)
        finally:
            self._slots.release()

    def close(self) -> None:
        """Close the connections that nobody uses."""
        self._pool.close()

    def _keep_pace(self, deadline: float) -> None:
        """Wait for this request's turn.

        Raises:
            Unanswered: it comes after the deadline.
        """
        if not self._every:
            return
        with self._pace:
            now = time.monotonic()
            turn = max(now, self._next)
            if turn > deadline:
                raise Unanswered("no time was left: the rate of requests is limited")
            self._next = turn + self._every
        time.sleep(turn - now)

    def _exchange(
        self, ask: Ask, url: str, headers: Mapping[str, str], deadline: float, limit: str
    ) -> Answer:
        parts = urlsplit(url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        response: Any = None
        try:
            with until(deadline):
                response = self._pool.urlopen(
                    ask.method,
                    target,
                    headers=headers,
                    redirect=False,
                    assert_same_host=False,
                    timeout=max(0.001, deadline - time.monotonic()),
                    preload_content=False,
                    decode_content=False,
                )
                told = {name.lower(): response.headers[name] for name in response.headers}
                length = told.get("content-length", "")
                if length.isdecimal() and ask.method != "HEAD":
                    _must_fit(int(length), ask.max_bytes)
                body = self._body(response, told, deadline, ask.max_bytes)
                response.release_conn()
        except BaseException as error:
            if response is not None:
                response.close()  # the connection may hold the rest of an answer
            if isinstance(error, _FAULTS):
                raise _unanswered(error, limit, begun=response is not None) from error
            raise
        return Answer(url, response.status, told, body)

    def _body(
        self, response: Any, headers: Mapping[str, str], deadline: float, max_bytes: int
    ) -> bytes:
        packed = unpacking_of(headers.get("content-encoding", ""))
        parts: list[bytes] = []
        received = size = 0
        # To its end: only there urllib3 sees that an answer was cut short.
        while part := response.read(PART, decode_content=False):
            received += len(part)
            _must_fit(received, max_bytes)  # what is packed may hold nothing at all
            for piece in (part,) if packed is None else packed.pieces(part):
                size += len(piece)
                _must_fit(size, max_bytes)
                parts.append(piece)
            self._large.reached(size, deadline)
        if packed is not None:
            parts.append(packed.rest())
        return b"".join(parts)


def stamp_of(origin: Origin) -> tuple[int, ...]:
    """Return what tells the files for TLS from those of another time.

    Raises:
        Unanswered: one cannot be read.
    """
    try:
        return stamp(origin.tls[:3])
    except OSError as error:
        raise _unusable(error) from error


def _unusable(error: OSError) -> Unanswered:
    what = getattr(error, "reason", None) or error.strerror or "no PEM"
    return Unanswered(f"the files for TLS cannot be used: {what}")


def _must_fit(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise Unanswered(f"its answer is larger than {max_bytes} bytes (max_response_bytes)")


def _unanswered(error: Exception, limit: str, *, begun: bool) -> Unanswered:
    """Return the reason for a failed exchange.

    Args:
        error: what failed.
        limit: how long it had, in words.
        begun: whether an answer had begun.
    """
    if isinstance(error, zlib.error):
        return Unanswered("its packed answer cannot be unpacked")
    dead = isinstance(error, _DEAD)
    late = is_late(error)
    return Unanswered(reason_of(error, limit), again=not (begun or late), dead=dead, late=late)
