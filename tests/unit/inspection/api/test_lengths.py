# SPDX-License-Identifier: Apache-2.0
"""Answers that are longer or shorter than they say, packed or not."""

from __future__ import annotations

import gzip
import zlib

import pytest

from ceilo_agent.inspection.api.answer import Unanswered
from tests.services import faulty
from tests.unit.inspection.api.asking import get


def endless(begin: bytes, on: bytes) -> faulty.Behaviour:
    """Answer 200 with a beginning, and go on without an end."""

    def behave(exchange: faulty.Exchange) -> None:
        exchange.read()
        exchange.write(b"HTTP/1.1 200 OK\r\n" + begin)
        while not exchange.ended.is_set():
            exchange.write(on)

    return behave


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_packed_answer_is_unpacked(fetcher, server, encoding):
    pack = gzip.compress if encoding == "gzip" else zlib.compress
    server.usual = faulty.ok(pack(b"x" * 100_000), {"Content-Encoding": encoding})
    assert get(fetcher, server.url).body == b"x" * 100_000


def test_an_answer_that_unpacks_to_too_much_is_refused(fetcher, server):
    bomb = gzip.compress(bytes(64 << 20))
    assert len(bomb) < 1 << 20
    server.usual = faulty.ok(bomb, {"Content-Encoding": "gzip"})
    with pytest.raises(Unanswered, match="larger than 1048576 bytes"):
        get(fetcher, server.url)


def test_a_packed_answer_that_is_cut_or_wrong_is_told(fetcher, server):
    whole = gzip.compress(b"x" * 1000)
    server.script(
        faulty.ok(whole[:-12], {"Content-Encoding": "gzip"}),
        faulty.ok(b"no gzip at all", {"Content-Encoding": "gzip"}),
        faulty.ok(b"?", {"Content-Encoding": "br"}),
    )
    with pytest.raises(Unanswered, match="ends too early"):
        get(fetcher, server.url)
    with pytest.raises(Unanswered, match="cannot be unpacked"):
        get(fetcher, server.url)
    with pytest.raises(Unanswered, match="packed as 'br'"):
        get(fetcher, server.url)


def test_a_packed_answer_may_have_several_members_and_padding(fetcher, server):
    packed = gzip.compress(b"one") + gzip.compress(b"two") + bytes(100)
    server.usual = faulty.ok(packed, {"Content-Encoding": "gzip"})
    assert get(fetcher, server.url).body == b"onetwo"


@pytest.mark.parametrize("behind", [b"x" * 65536, gzip.compress(b"") * 3000])
def test_what_comes_endlessly_behind_a_packed_answer_is_refused(fetcher, server, behind):
    server.usual = endless(b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"x"), behind)
    with pytest.raises(Unanswered, match="larger than 1048576 bytes"):
        get(fetcher, server.url, timeout=30, seconds=30)


@pytest.mark.parametrize(
    ("begin", "on"),
    [
        (b"\r\n", b"x" * 65536),
        (b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b"x" * 65536 + b"\r\n"),
    ],
)
def test_an_answer_that_does_not_say_its_length_is_bounded(fetcher, server, begin, on):
    server.usual = endless(begin, on)
    with pytest.raises(Unanswered, match="larger than 1048576 bytes"):
        get(fetcher, server.url, timeout=30, seconds=30)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"Content-Length: 100\r\n\r\nshort", "the connection ended amid the answer"),
        (b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nshort", "no answer in HTTP"),
        (b"Content-Length: " + b"9" * 5000 + b"\r\n\r\nshort", "no answer in HTTP"),
        (b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", "the connection ended amid the answer"),
        (b"Transfer-Encoding: chunked\r\n\r\n-5\r\nshort\r\n0\r\n\r\n", "no answer in HTTP"),
        (b"Transfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n", "ended amid the answer"),
        (b"X: y\r\n" * 200 + b"\r\n", "no answer in HTTP"),
        (b"X: " + b"y" * 100_000 + b"\r\n\r\n", "no answer in HTTP"),
    ],
)
def test_a_length_or_a_header_that_is_wrong_is_told(fetcher, server, answer, words):
    server.usual = faulty.garbage(b"HTTP/1.1 200 OK\r\n" + answer)
    with pytest.raises(Unanswered, match=words):
        get(fetcher, server.url)


def test_bytes_beyond_the_length_are_no_part_of_the_next_answer(fetcher, server):
    server.script(faulty.garbage(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none and more"))
    server.usual = faulty.ok(b"two")
    assert get(fetcher, server.url).body == b"one"
    assert get(fetcher, server.url, retries=1).body == b"two"


def test_headers_that_cannot_be_read_put_no_url_into_the_log(fetcher, server, caplog):
    server.usual = faulty.garbage(b"HTTP/1.1 200 OK\r\nno header\r\nContent-Length: 0\r\n\r\n")
    get(fetcher, f"{server.url}/?token=secret")
    assert caplog.text == ""


def test_an_answer_of_a_gigabyte_is_not_read(fetcher, server):
    server.usual = faulty.huge(1 << 30)
    with pytest.raises(Unanswered, match="larger than 1048576 bytes"):
        get(fetcher, server.url)
