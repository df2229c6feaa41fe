# SPDX-License-Identifier: Apache-2.0
"""Requests over HTTP to servers that do not do what they should."""

from __future__ import annotations

import gzip
import threading
import time
import zlib
from collections.abc import Iterator, Mapping

import pytest

from ceilo_agent.inspection.api.answer import Ask, Tls, Unanswered
from ceilo_agent.inspection.api.fetch import Fetcher
from tests.services import faulty
from tests.services.certificates import certificate, tls
from tests.services.faulty.server import Server


class Nobody:
    """Lets requests in as they are."""

    def __init__(self, *tokens: str) -> None:
        self.tokens = list(tokens)

    def headers(self, method: str, url: str) -> Mapping[str, str]:
        return {"X-Auth-Token": self.tokens[0]} if self.tokens else {}

    def rejected(self) -> bool:
        self.tokens = self.tokens[1:]
        return bool(self.tokens)


def ask(url: str, **changes) -> Ask:
    usual = Ask("GET", url, {}, Nobody(), Tls(), 5.0, 0, 1 << 20, 8, None)
    return usual._replace(**changes)


def get(fetcher: Fetcher, url: str, seconds: float = 10.0, **changes):
    return fetcher.get(ask(url, **changes), time.monotonic() + seconds)


@pytest.fixture
def fetcher() -> Iterator[Fetcher]:
    made = Fetcher()
    yield made
    made.close()


@pytest.fixture
def server() -> Iterator[Server]:
    with faulty.serving() as made:
        yield made


def test_an_answer_comes_with_headers_in_lower_case_and_connections_are_kept(fetcher, server):
    server.usual = faulty.ok(b"body", {"X-Thing": "1"})
    answers = [get(fetcher, f"{server.url}/a?b=c") for _ in range(3)]
    assert answers[2].body == b"body"
    assert answers[2].headers["x-thing"] == "1"
    assert [one.path for one in server.requests] == ["/a?b=c"] * 3
    assert server.connections == 1


def test_a_connection_that_ended_between_two_requests_costs_nothing(fetcher, server):
    server.script(faulty.closing(faulty.ok(b"1")), faulty.ok(b"2"))
    assert get(fetcher, server.url, retries=1).body == b"1"
    assert get(fetcher, server.url, retries=1).body == b"2"


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


def test_an_answer_of_a_gigabyte_is_not_read(fetcher, server):
    server.usual = faulty.huge(1 << 30)
    with pytest.raises(Unanswered, match="larger than 1048576 bytes"):
        get(fetcher, server.url)


@pytest.mark.parametrize("data", [None, b"x"])
def test_who_sends_a_byte_now_and_then_has_no_more_time_than_others(fetcher, server, data):
    server.usual = faulty.drip(0.05, data)
    began = time.monotonic()
    with pytest.raises(Unanswered, match=r"no whole answer within 0\.5 s"):
        get(fetcher, server.url, timeout=0.5)
    assert time.monotonic() - began < 30


def test_the_deadline_of_the_cycle_counts_if_it_is_sooner(fetcher, server):
    server.usual = faulty.hang
    with pytest.raises(Unanswered, match="no whole answer before the cycle's end"):
        get(fetcher, server.url, seconds=0.4, timeout=60, retries=5)


def test_a_request_is_sent_again_where_that_may_help(fetcher, server):
    server.script(
        faulty.cut_before_reply, faulty.status(503), faulty.status(429), faulty.ok(b"at last")
    )
    assert get(fetcher, server.url, retries=3).body == b"at last"


def test_a_server_that_asks_for_a_pause_gets_it_unless_it_is_too_long(fetcher, server):
    server.script(faulty.status(503, headers={"Retry-After": "1"}), faulty.ok(b"now"))
    began = time.monotonic()
    assert get(fetcher, server.url, retries=1).body == b"now"
    assert time.monotonic() - began >= 1
    server.script(faulty.status(503, headers={"Retry-After": "86400"}))
    with pytest.raises(Unanswered, match="it answers 503 Service Unavailable"):
        get(fetcher, server.url, retries=1)


@pytest.mark.parametrize("status", [400, 403, 404, 500])
def test_other_statuses_are_told_and_not_tried_again(fetcher, server, status):
    server.usual = faulty.status(status)
    with pytest.raises(Unanswered, match=f"it answers {status} "):
        get(fetcher, server.url, retries=3)
    assert len(server.requests) == 1


def test_a_token_that_was_refused_is_renewed_once(fetcher, server):
    def answer(request):
        return (200 if request.headers["X-Auth-Token"] == "new" else 401), {}, b""

    server.usual = faulty.reply(answer)
    assert get(fetcher, server.url, access=Nobody("old", "new")).status == 200
    with pytest.raises(Unanswered, match="it answers 401 Unauthorized"):
        get(fetcher, server.url, access=Nobody("old", "older", "oldest"))
    assert len(server.requests) == 4


def test_a_redirect_on_the_same_host_is_followed(fetcher, server):
    server.script(faulty.status(301, headers={"Location": "/there?x=1"}), faulty.ok(b"here"))
    answer = get(fetcher, f"{server.url}/path", access=Nobody("secret"))
    assert (answer.body, answer.url) == (b"here", f"{server.url}/there?x=1")
    assert server.requests[1].headers["X-Auth-Token"] == "secret"


def test_a_redirect_to_another_host_is_refused_and_credentials_stay(fetcher, server):
    with faulty.serving() as other:
        server.usual = faulty.status(302, headers={"Location": f"{other.url}/steal?q=secret"})
        with pytest.raises(Unanswered, match="redirects to another host") as caught:
            get(fetcher, server.url, access=Nobody("token"))
        assert other.connections == 0
    assert "secret" not in str(caught.value)


def test_endless_redirects_end(fetcher, server):
    server.usual = faulty.status(302, headers={"Location": "/again"})
    with pytest.raises(Unanswered, match="more than 3 times"):
        get(fetcher, server.url)
    assert len(server.requests) == 4


def test_a_port_where_nobody_listens_is_dead(fetcher):
    with pytest.raises(Unanswered, match="Connection refused") as caught:
        get(fetcher, f"http://user:secret@127.0.0.1:{faulty.closed_port()}/")
    assert caught.value.dead
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (faulty.garbage(), "no answer in HTTP"),
        (faulty.half, "no whole answer within|amid the answer"),
        (faulty.cut_amid_reply, "reset|amid the answer"),
        (faulty.cut_request, "reset|ended without an answer"),
    ],
)
def test_what_is_no_whole_answer_is_told(fetcher, server, behaviour, words):
    server.usual = behaviour
    with pytest.raises(Unanswered, match=words):
        get(fetcher, server.url, timeout=1.0)


@pytest.mark.parametrize("url", ["ftp://host/", "/path", "http://", "http://host:0/", "http://h:x"])
def test_what_is_no_url_of_http_is_told(fetcher, url):
    with pytest.raises(Unanswered, match="URL"):
        get(fetcher, url)


def test_no_more_requests_than_allowed_are_under_way(fetcher, server):
    lock, now, most = threading.Lock(), [0], [0]

    def behave(exchange):
        exchange.read()
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.05)
        with lock:
            now[0] -= 1
        exchange.answer(200, {}, b"")

    server.usual = behave
    threads = [
        threading.Thread(target=get, args=(fetcher, server.url), kwargs={"concurrency": 3})
        for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.requests) == 12
    assert most[0] <= 3


def test_a_rate_is_kept(fetcher, server):
    began = time.monotonic()
    for _ in range(6):
        get(fetcher, server.url, rate=10.0)
    assert time.monotonic() - began >= 0.5


def test_tls_with_a_certificate_for_each_side(fetcher, tmp_path):
    own, client = certificate(tmp_path), certificate(tmp_path, "client")
    with faulty.serving(faulty.ok(b"safe"), tls(own, client)) as server:
        good = Tls(str(own.cert), str(client.cert), str(client.key))
        assert get(fetcher, server.url, tls=good).body == b"safe"
        with pytest.raises(Unanswered, match="TLS: its certificate is refused"):
            get(fetcher, server.url)
        with pytest.raises(Unanswered):
            get(fetcher, server.url, tls=Tls(insecure=True))
        server.context = tls(own)
        assert get(fetcher, server.url, tls=Tls(insecure=True)).body == b"safe"


def test_slow_bytes_over_tls_end_in_time_as_well(fetcher, tmp_path):
    own = certificate(tmp_path)
    with (
        faulty.serving(faulty.drip(0.05, b"x"), tls(own)) as server,
        pytest.raises(Unanswered, match=r"within 0\.5 s"),
    ):
        get(fetcher, server.url, tls=Tls(str(own.cert)), timeout=0.5)


def test_files_for_tls_that_are_none_are_told(fetcher, tmp_path):
    (tmp_path / "none").write_text("no PEM")
    for path in (tmp_path / "none", tmp_path / "missing"):
        with pytest.raises(Unanswered, match="files for TLS"):
            get(fetcher, "https://127.0.0.1:1/", tls=Tls(str(path)))


def test_a_certificate_that_is_renewed_is_taken_as_it_comes(fetcher, tmp_path):
    own, client = certificate(tmp_path), certificate(tmp_path, "client")
    other = tmp_path / "other"
    other.mkdir()
    stranger = certificate(other, "client")
    with faulty.serving(faulty.ok(b"safe"), tls(own, client)) as server:
        shown = Tls(str(own.cert), str(stranger.cert), str(stranger.key))
        with pytest.raises(Unanswered):
            get(fetcher, server.url, tls=shown)
        client.cert.replace(stranger.cert)
        client.key.replace(stranger.key)
        assert get(fetcher, server.url, tls=shown).body == b"safe"
