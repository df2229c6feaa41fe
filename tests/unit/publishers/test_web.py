# SPDX-License-Identifier: Apache-2.0
"""The HTTP client against a server that fails in every way it can."""

from __future__ import annotations

import base64
import contextlib
import logging
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from ceilo_agent.definition.secret import Secret
from ceilo_agent.errors import (
    ConfigError,
    DeliveryError,
    Malformed,
    Misfit,
    Permanent,
    Retryable,
)
from ceilo_agent.publishers import web
from ceilo_agent.publishers.line import Line
from ceilo_agent.publishers.web import REPLY_AT_MOST, Web, check_url
from ceilo_agent.publishers.web_options import WebOptions
from tests.services import certificates, faulty


@pytest.fixture
def server() -> Iterator[faulty.Server]:
    with faulty.serving() as found:
        yield found


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> certificates.Certificate:
    return certificates.certificate(tmp_path_factory.mktemp("tls"))


def client(url: str, **options: Any) -> Web:
    made = Web(urlsplit(url), WebOptions(**({"timeout": 5.0} | options)))
    made.open()
    return made


def post(made: Web, body: bytes = b"body") -> web.Reply:
    return made.post(body, {"Content-Type": "text/plain"})


def fault(made: Web) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        post(made)
    made.close()
    return caught.value


def header(server: faulty.Server, name: str) -> str | None:
    return server.requests[-1].headers.get(name)


# -- what succeeds -------------------------------------------------------------------------------


def test_a_post(server: faulty.Server) -> None:
    server.usual = faulty.ok(b"thanks", {"X-Mine": "1"})
    made = client(f"{server.url}/a/b?c=d%20e")
    reply = post(made, b"\x00\xff")
    (request,) = server.requests
    assert (request.method, request.path, request.body) == ("POST", "/a/b?c=d%20e", b"\x00\xff")
    assert request.headers["Content-Type"] == "text/plain"
    assert request.headers["User-Agent"].startswith("ceilo_agent/")
    assert request.headers["Accept-Encoding"] == "identity"
    assert (reply.status, reply.headers["x-mine"], reply.body) == (200, "1", b"thanks")
    made.close()


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_all_of_2xx_is_success(server: faulty.Server, status: int) -> None:
    server.usual = faulty.status(status)
    made = client(server.url)
    assert post(made).status == status
    assert post(made).status == status
    made.close()


def test_one_connection_serves_many_posts(server: faulty.Server) -> None:
    made = client(server.url)
    for _ in range(20):
        post(made)
    assert server.connections == 1
    made.close()


def test_a_connection_that_idled_is_not_used_again(
    server: faulty.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "IDLE_AT_MOST", 0.0)
    made = client(server.url)
    post(made)
    post(made)
    assert server.connections == 2
    made.close()


def test_a_connection_that_the_server_closed_between_posts_is_no_fault(
    server: faulty.Server,
) -> None:
    made = client(server.url)
    for _ in range(5):
        server.script(faulty.closing(faulty.ok()))
        post(made)
        while server.open:  # closed without a word
            time.sleep(0.001)
    assert len(server.accepted) == 5
    made.close()


def test_closed_twice_and_used_after_it(server: faulty.Server) -> None:
    made = client(server.url)
    post(made)
    made.close()
    made.close()
    post(made)
    made.close()


# -- who asks ------------------------------------------------------------------------------------


def test_user_and_password_of_the_url(server: faulty.Server) -> None:
    url = server.url.replace("//", "//us%40er:p%3Aä%2Fs@")
    made = client(url + "/x")
    post(made)
    assert header(server, "Authorization") == _basic("us@er:p:ä/s")
    assert made.where == f"{server.url}/x"
    made.close()


def test_user_and_password_of_the_options(server: faulty.Server, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("first\nsecond line\n")
    made = client(server.url, username="me", password=Secret.parse(f"file:{file}"))
    post(made)
    assert header(server, "Authorization") == _basic("me:first")
    file.write_text("other")
    post(made)
    assert header(server, "Authorization") == _basic("me:other")
    file.unlink()
    with pytest.raises(Retryable, match="password cannot be read: No such file"):
        post(made)
    made.close()


def test_a_bearer_token(server: faulty.Server) -> None:
    made = client(server.url, bearer_token=Secret("tok"))
    post(made)
    assert header(server, "Authorization") == "Bearer tok"
    made.close()


def test_headers_of_the_options(server: faulty.Server) -> None:
    made = client(server.url, headers={"X-Scope-OrgID": Secret("me"), "content-type": Secret("x")})
    post(made)
    assert header(server, "X-Scope-OrgID") == "me"
    made.close()


def test_nobody_asks_without_being_told_to(
    server: faulty.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login eve password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{faulty.closed_port()}")
    made = client(server.url)
    post(made)
    assert header(server, "Authorization") is None
    made.close()


def test_through_a_proxy(server: faulty.Server) -> None:
    made = client("http://nowhere.invalid:81/x", proxy=server.url)
    post(made)
    assert server.requests[0].path == "http://nowhere.invalid:81/x"
    made.close()


def test_cookies_are_not_kept(server: faulty.Server) -> None:
    server.usual = faulty.ok(headers={"Set-Cookie": "a=b"})
    made = client(server.url)
    post(made)
    post(made)
    assert header(server, "Cookie") is None
    made.close()


def _basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


# -- TLS -----------------------------------------------------------------------------------------


def test_tls_with_the_right_authority(certificate: certificates.Certificate) -> None:
    with faulty.serving(context=certificates.tls(certificate)) as server:
        made = client(server.url, verify_ssl=str(certificate.cert))
        for _ in range(3):
            post(made)
        assert (len(server.accepted), server.connections) == (3, 1)
        made.close()


def test_tls_with_an_unknown_authority(certificate: certificates.Certificate) -> None:
    with faulty.serving(context=certificates.tls(certificate)) as server:
        error = fault(client(server.url))
        assert isinstance(error, Retryable)
        assert str(error) == (
            f"{server.url}: TLS: its certificate is refused: self-signed certificate"
        )
        assert server.requests == []


def test_tls_for_another_host(tmp_path: Path) -> None:
    other = certificates.certificate(tmp_path, "other.example")
    with faulty.serving(context=certificates.tls(other)) as server:
        error = fault(client(server.url, verify_ssl=str(other.cert)))
        assert isinstance(error, Retryable)
        assert "IP address mismatch, certificate is not valid for '127.0.0.1'" in str(error)


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
@pytest.mark.parametrize("word", ["False", "no", "0", False])
def test_tls_unverified_when_told_so(certificate: certificates.Certificate, word: Any) -> None:
    with faulty.serving(context=certificates.tls(certificate)) as server:
        made = client(server.url, verify_ssl=word)
        post(made)
        made.close()


def test_a_client_certificate(certificate: certificates.Certificate, tmp_path: Path) -> None:
    mine = certificates.certificate(tmp_path, "me.example")
    both = tmp_path / "both.pem"
    both.write_bytes(mine.cert.read_bytes() + mine.key.read_bytes())
    with faulty.serving(context=certificates.tls(certificate, mine)) as server:
        known = {"verify_ssl": str(certificate.cert)}
        for options in (
            {"clientcert": str(mine.cert), "clientkey": str(mine.key)},
            {"clientcert": str(both)},
        ):
            made = client(server.url, **known, **options)
            post(made)
            made.close()
        error = fault(client(server.url, **known))
        assert isinstance(error, Retryable)
        assert len(server.accepted) == 2


def test_tls_where_there_is_none(server: faulty.Server) -> None:
    error = fault(client(server.url.replace("http:", "https:")))
    assert isinstance(error, Retryable)
    assert ": TLS: " in str(error)


def test_no_tls_where_there_is(certificate: certificates.Certificate) -> None:
    with faulty.serving(context=certificates.tls(certificate)) as server:
        assert isinstance(fault(client(server.url.replace("https:", "http:"))), Retryable)


# -- faults --------------------------------------------------------------------------------------


def test_refused() -> None:
    url = f"http://127.0.0.1:{faulty.closed_port()}"
    error = fault(client(f"http://u:secret@{url[7:]}/x?key=secret"))
    assert isinstance(error, Retryable)
    assert str(error) == f"{url}/x: Connection refused"


def test_a_name_that_is_not_known() -> None:
    error = fault(client("http://nowhere.invalid/"))
    assert isinstance(error, Retryable)
    assert str(error).startswith("http://nowhere.invalid/: its name is not known: ")


@pytest.mark.parametrize(
    "behaviour",
    [
        faulty.hang,
        faulty.drip(0.05),
        faulty.drip(0.05, b"x"),
        faulty.slow(30),
    ],
    ids=["hangs", "drips headers", "drips a body", "slow"],
)
def test_the_timeout_holds_for_the_whole_request(
    server: faulty.Server, behaviour: faulty.Behaviour
) -> None:
    server.script(behaviour)
    made = client(server.url, timeout=0.4)
    error = fault(made)
    assert isinstance(error, Retryable)
    assert str(error) == f"{server.url}: no whole answer within 0.4 s"
    post(made)
    made.close()


def test_the_timeout_holds_for_tls(certificate: certificates.Certificate) -> None:
    context = certificates.tls(certificate)
    with faulty.serving(faulty.drip(0.05), context) as server:
        error = fault(client(server.url, timeout=0.4, verify_ssl=str(certificate.cert)))
        assert str(error) == f"{server.url}: no whole answer within 0.4 s"


def test_the_timeout_holds_for_a_handshake_that_drips() -> None:
    with faulty.dripping(0.05) as port:
        error = fault(client(f"https://127.0.0.1:{port}", timeout=0.4))
        assert str(error) == f"https://127.0.0.1:{port}: no whole answer within 0.4 s"


def test_the_timeout_holds_for_a_server_that_does_not_read(server: faulty.Server) -> None:
    server.script(lambda exchange: exchange.wait())
    made = client(server.url, timeout=0.4)
    with pytest.raises(Retryable, match=r"no whole answer within 0\.4 s"):
        post(made, bytes(64 << 20))
    made.close()


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (faulty.garbage(), "no answer in HTTP"),
        (faulty.garbage(b"HTTP/1.1 abc\r\n\r\n"), "no answer in HTTP"),
        (faulty.cut_request, "(connection ended|Connection reset)"),
        (faulty.cut_before_reply, "(connection ended|Connection reset)"),
        (faulty.cut_amid_reply, "(the connection ended amid the answer|Connection reset)"),
        (faulty.closing(faulty.half), "the connection ended amid the answer"),
        (faulty.closing(faulty.ignore), "the connection ended without an answer"),
    ],
    ids=["garbage", "bad status", "cut request", "cut", "cut reply", "half", "closed"],
)
def test_what_is_no_answer_is_tried_again(
    server: faulty.Server, behaviour: faulty.Behaviour, words: str
) -> None:
    server.script(behaviour)
    made = client(server.url)
    error = fault(made)
    assert isinstance(error, Retryable)
    assert str(error).startswith(f"{server.url}: ")
    assert re.search(words, str(error))
    post(made)
    assert len(server.accepted) == 1
    made.close()


def test_a_huge_reply_is_cut(server: faulty.Server) -> None:
    server.script(faulty.huge(64 << 20))
    made = client(server.url)
    assert len(post(made).body) == REPLY_AT_MOST
    post(made)
    assert server.connections == 2
    made.close()


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refused_body_is_permanent(server: faulty.Server, status: int) -> None:
    server.script(faulty.status(status, b" no \n good\x1b "))
    error = fault(client(server.url))
    assert isinstance(error, Permanent)
    assert error.refused is None
    assert str(error) == f"{server.url} answers {status}: no good\ufffd"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_a_fault(server: faulty.Server, status: int) -> None:
    where = {"Location": "https://u:p@there/x?key=secret"}
    server.script(faulty.status(status, b"gone", where))
    error = fault(client(server.url))
    assert isinstance(error, Retryable)
    assert str(error) == f"{server.url} answers {status}: it moved to there/x"
    assert len(server.requests) == 1


def test_a_page_of_html_is_told_without_its_tags(server: faulty.Server) -> None:
    page = b"<html><style>b {}</style><title>502 Bad Gateway</title>\n<hr>nginx</html>"
    server.script(faulty.status(502, page, {"Content-Type": "text/html; charset=utf-8"}))
    assert str(fault(client(server.url))) == f"{server.url} answers 502: 502 Bad Gateway nginx"


def test_retry_after_is_handed_on(server: faulty.Server) -> None:
    server.script(faulty.status(429, b"later", {"Retry-After": "17"}))
    error = fault(client(server.url))
    assert isinstance(error, Retryable)
    assert error.retry_after == 17.0


def test_no_message_holds_a_secret(server: faulty.Server) -> None:
    server.usual = faulty.status(500)
    url = f"{server.url}/path?api_key=hunter2".replace("//", "//me:hunter2@")
    made = client(url, headers={"X-Key": Secret("hunter2")})
    assert "hunter2" not in str(fault(made))
    server.stop()
    assert "hunter2" not in str(fault(made))
    assert "hunter2" not in repr(WebOptions(username="u", password=Secret("hunter2")))


def test_threads_and_descriptors_do_not_pile_up(server: faulty.Server) -> None:
    made = client(server.url, timeout=0.2)
    server.script(*[faulty.closing(faulty.ok()), faulty.garbage(), faulty.cut_request] * 5)
    before = descriptors()
    for _ in range(15):
        with contextlib.suppress(Retryable):
            post(made)
    made.close()
    while server.open:
        time.sleep(0.001)
    assert descriptors() <= before


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


# -- options -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"verify_ssl": "flase"}, "'verify_ssl': true, false or the absolute path of a file"),
        ({"clientkey": "/k"}, "'clientkey' needs clientcert"),
        ({"password": Secret("p")}, "'password' needs username"),
        ({"username": "u", "bearer_token": Secret("t")}, "one will do"),
    ],
)
def test_options_that_do_not_fit(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        WebOptions(**options)


def test_an_option_below_its_bound() -> None:
    for wrong in ({"timeout": 0}, {"batch_size": 0}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(wrong, WebOptions)


@pytest.mark.parametrize("name", ["verify_ssl", "clientcert"])
def test_a_file_that_is_not_there(name: str) -> None:
    with pytest.raises(ConfigError, match=r"/no/such\.pem cannot be read: No such file"):
        client("https://u:p@host/x", **{name: "/no/such.pem"})


def test_a_secret_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match="https://host: /no/such cannot be read"):
        client("https://host", bearer_token=Secret.parse("file:/no/such"))


def test_two_who_ask() -> None:
    with pytest.raises(ConfigError, match="both say who asks"):
        client("https://u:p@host/x", bearer_token=Secret("t"))


def test_a_header_that_cannot_be_sent() -> None:
    with pytest.raises(ConfigError, match="a header of the options cannot be sent") as caught:
        client("http://host", headers={"X-Key": Secret("hunter2\nX-Other: 1")})
    assert "hunter2" not in str(caught.value)


def test_a_host_that_cannot_be_one() -> None:
    with pytest.raises(ConfigError, match="the URL's host cannot be read"):
        client(f"http://{'ä' * 70}.example")


def test_a_secret_in_a_file_by_a_relative_path() -> None:
    with pytest.raises(Malformed, match="the path must begin with /"):
        Secret.parse("file:here")


def test_secrets_compare_and_hide() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert hash(Secret("a")) == hash(Secret("a"))
    assert repr(Secret("a")) == "<Secret>"
    assert repr(Secret("file:/a")) == "<Secret in /a>"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http:///path", "it names no host"),
        ("http://", "it names no host"),
        ("http://u:secret@:80/x", "it names no host"),
        ("http://host:0/x", "0 is no port"),
        ("http://host:99999/x", "it names no host"),
    ],
)
def test_urls_that_cannot_work(url: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        check_url(urlsplit(url), "http://host/path")
    assert "secret" not in str(caught.value)


def test_urls_that_can_work() -> None:
    for url in ("http://host", "https://u:p@host:1/x", "http://[::1]:80/"):
        check_url(urlsplit(url), "http://host/path")


@pytest.mark.parametrize("proxy", ["proxy:3128", "http://", "socks5://proxy:1080", ""])
def test_a_proxy_that_is_no_url(proxy: str) -> None:
    with pytest.raises(Misfit, match="'proxy': http://host:port was expected"):
        WebOptions(proxy=proxy)


def test_no_log_holds_the_query(server: faulty.Server, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        post(client(f"{server.url}/x?token=hunter2"))
    assert "hunter2" not in caplog.text


def test_a_connection_that_is_made_as_time_runs_out_is_cut() -> None:
    line = Line()
    ours, theirs = socket.socketpair()
    copies: list[threading.Thread] = []

    class Late:
        """A socket whose time runs out while the line takes note of it."""

        def dup(self) -> socket.socket:
            copies.append(threading.Thread(target=line.cut))
            copies[0].start()
            copies[0].join(0.2)
            return ours.dup()

    with ours, theirs:
        theirs.settimeout(5.0)
        line.begin()
        line.made(Late())  # type: ignore[arg-type]
        copies[0].join(5.0)
        assert theirs.recv(1) == b""
    line.ready(None)
