# SPDX-License-Identifier: Apache-2.0
"""What may happen to a request."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from tests.services.faulty.exchange import LONG, Behaviour, Exchange, Request, head


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
