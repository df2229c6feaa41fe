# SPDX-License-Identifier: Apache-2.0
"""Requests over HTTP to servers that do not do what they should."""

from __future__ import annotations

import threading
import time

import pytest

from ceilo_agent.inspection.api.answer import Unanswered
from tests.services import faulty
from tests.unit.inspection.api.asking import Nobody, get


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


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://nothing.invalid/?q=secret", "its name is not known: "),
        ("http://a..b/?q=secret", "its host has no name that DNS could know"),
        (f"http://{'a' * 70}.invalid/?q=secret", "its host has no name that DNS could know"),
    ],
)
def test_a_host_that_is_not_known_is_dead(fetcher, url, words):
    with pytest.raises(Unanswered, match=words) as caught:
        get(fetcher, url)
    assert caught.value.dead
    assert "secret" not in str(caught.value)


def test_a_host_may_be_an_address_of_ipv6(fetcher):
    with faulty.serving(faulty.ok(b"six"), host="::1") as six:
        assert get(fetcher, f"{six.url}/a").body == b"six"
        assert six.requests[0].headers["Host"] == f"[::1]:{six.port}"
        six.stop()
        with pytest.raises(Unanswered, match="Connection refused"):
            get(fetcher, six.url)


def test_proxies_of_the_environment_are_not_asked(fetcher, server, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{faulty.closed_port()}")
    server.usual = faulty.ok(b"itself")
    assert get(fetcher, server.url).body == b"itself"


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
