# SPDX-License-Identifier: Apache-2.0
"""Requests over TLS, to servers that are who they should be and to others."""

from __future__ import annotations

import time

import pytest

from ceilo_agent.inspection.api.answer import Tls, Unanswered
from tests.services import faulty
from tests.services.certificates import certificate, tls
from tests.unit.inspection.api.asking import get


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


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ({"host": "other.example"}, "IP address mismatch"),
        ({"host": "127.0.0.1", "expired": True}, "certificate has expired"),
    ],
)
def test_a_certificate_of_another_host_or_time_is_refused(fetcher, tmp_path, made, words):
    own = certificate(tmp_path, **made)
    with faulty.serving(faulty.ok(b"safe"), tls(own)) as server:
        with pytest.raises(Unanswered, match=f"TLS: its certificate is refused: .*{words}") as told:
            get(fetcher, server.url, tls=Tls(str(own.cert)))
        assert server.requests == []
    assert told.value.dead


def test_who_speaks_no_tls_is_told(fetcher, server):
    with pytest.raises(Unanswered, match="TLS: "):
        get(fetcher, server.url.replace("http:", "https:"))


def test_a_handshake_that_never_ends_has_no_more_time_than_others(fetcher):
    began = time.monotonic()
    with (
        faulty.dripping(0.05) as port,
        pytest.raises(Unanswered, match=r"no whole answer within 0\.5 s"),
    ):
        get(fetcher, f"https://127.0.0.1:{port}", timeout=0.5)
    assert time.monotonic() - began < 30


def test_slow_bytes_over_tls_end_in_time_as_well(fetcher, tmp_path):
    own = certificate(tmp_path)
    began = time.monotonic()
    with (
        faulty.serving(faulty.drip(0.05, b"x"), tls(own)) as server,
        pytest.raises(Unanswered, match=r"within 0\.5 s"),
    ):
        get(fetcher, server.url, tls=Tls(str(own.cert)), timeout=0.5)
    assert time.monotonic() - began < 30


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
