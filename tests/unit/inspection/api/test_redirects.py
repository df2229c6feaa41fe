# SPDX-License-Identifier: Apache-2.0
"""Answers that lead elsewhere."""

from __future__ import annotations

import pytest

from ceilo_agent.inspection.api.answer import Tls, Unanswered
from tests.services import faulty
from tests.services.certificates import certificate, tls
from tests.unit.inspection.api.asking import Nobody, get


def test_a_redirect_on_the_same_host_is_followed(fetcher, server):
    server.script(faulty.status(301, headers={"Location": "/there?x=1"}), faulty.ok(b"here"))
    answer = get(fetcher, f"{server.url}/path", access=Nobody("secret"))
    assert (answer.body, answer.url) == (b"here", f"{server.url}/there?x=1")
    assert server.requests[1].headers["X-Auth-Token"] == "secret"


def test_a_redirect_to_another_host_is_refused_and_credentials_stay(fetcher, server):
    with faulty.serving() as other:
        server.usual = faulty.status(302, headers={"Location": f"{other.url}/steal?q=secret"})
        with pytest.raises(Unanswered, match="redirects to another port") as caught:
            get(fetcher, server.url, access=Nobody("token"))
        assert other.connections == 0
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("http://other.example/?q=secret", "to another host, http://other.example/: not followed"),
        ("https://127.0.0.1/?q=secret", "to another scheme, https://127.0.0.1/: not followed"),
        ("//u:secret@127.0.0.1:1/", "to another port, http://***@127.0.0.1:1/: not followed"),
        ("http://[::1", "leads to what is no URL: http://[::1"),
        ("ftp://127.0.0.1/", "no http:// or https:// URL: ftp://127.0.0.1/"),
    ],
)
def test_a_redirect_that_is_not_followed_is_told_with_where_it_leads(
    fetcher, server, location, words
):
    server.usual = faulty.status(307, headers={"Location": location})
    with pytest.raises(Unanswered) as caught:
        get(fetcher, server.url)
    assert str(caught.value).endswith(words)
    assert "secret" not in str(caught.value)
    assert len(server.requests) == 1


def test_a_redirect_from_https_to_http_is_refused(fetcher, server, tmp_path):
    own = certificate(tmp_path)
    with faulty.serving(context=tls(own)) as safe:
        safe.usual = faulty.status(302, headers={"Location": server.url})
        with pytest.raises(Unanswered, match="redirects to another scheme"):
            get(fetcher, safe.url, tls=Tls(str(own.cert)), access=Nobody("token"))
    assert server.connections == 0


def test_endless_redirects_end(fetcher, server):
    server.usual = faulty.status(302, headers={"Location": "/again"})
    with pytest.raises(Unanswered, match="more than 3 times"):
        get(fetcher, server.url)
    assert len(server.requests) == 4
