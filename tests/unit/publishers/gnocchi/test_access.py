# SPDX-License-Identifier: Apache-2.0
"""Where Gnocchi is and who asks: the URL, its options and the agent's credentials."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from ceilo_agent.errors import ConfigError, Retryable
from ceilo_agent.plugins import Context
from ceilo_agent.publishers.gnocchi.access import check_options, client_of
from ceilo_agent.publishers.gnocchi.client import Client
from ceilo_agent.publishers.gnocchi.settings import GnocchiOptions
from tests.services import certificates, faulty

PASSWORD = {
    "auth_url": "http://keystone.example.org:5000/v3",
    "username": "ceilo-agent",
    "password": "very-secret",
    "user_domain_name": "Default",
    "project_name": "service",
    "project_domain_name": "Default",
}


def client(url: str = "gnocchi://", section: dict[str, Any] | None = None, **chosen: Any) -> Client:
    options = msgspec.convert(chosen, GnocchiOptions, strict=False)
    values = {f"service_credentials.{key}": value for key, value in (section or {}).items()}
    return client_of(urlsplit(url), options, Context("here", values))


def refused(*arguments: Any, **chosen: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        client(*arguments, **chosen)
    assert "very-secret" not in str(caught.value)
    return str(caught.value)


def authorization(
    url: str = "gnocchi://{}", section: dict[str, Any] | None = None, **chosen: Any
) -> str | None:
    """Return what a request brings along to be let in."""
    with faulty.serving(faulty.ok(b"[]")) as server:
        made = client(url.format(f"127.0.0.1:{server.port}"), section, **chosen)
        made.archive_policies()
        (request,) = server.requests
        assert "very-secret" not in made.where
        return request.headers.get("Authorization")


def basic(user: str, password: str = "") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_without_credentials_it_asks_as_admin() -> None:
    assert authorization() == basic("admin")


def test_the_user_of_the_options_of_the_section_and_of_the_url() -> None:
    own = {"username": "us", "password": "very-secret"}
    assert authorization(user="me") == basic("me")
    assert authorization(section=own) == basic("us", "very-secret")
    assert authorization(section=own, user="me") == basic("me")
    assert authorization("gnocchi://you:p%40ss@{}", own) == basic("you", "p@ss")


def test_who_is_let_in_by_others_says_nothing() -> None:
    assert authorization(auth_type="noauth") is None
    assert authorization(section={"auth_type": "none"}) is None


def test_basic_although_there_are_credentials_for_keystone() -> None:
    assert authorization(section=PASSWORD, auth_type="basic", user="me") == basic("me")


def test_the_prefix_of_the_url_stays() -> None:
    with faulty.serving(faulty.ok(b"[]")) as server:
        client(f"gnocchi://127.0.0.1:{server.port}/metric/").archive_policies()
        assert server.requests[0].path == "/metric/v1/archive_policy"


def test_without_a_host_there_must_be_a_keystone() -> None:
    assert "write gnocchi://host:8041" in refused("gnocchi://")
    said = "names no host, and only Keystone could say where Gnocchi is"
    assert said in refused("gnocchi://", PASSWORD, auth_type="basic")
    assert said in refused("gnocchi://", auth_type="noauth")


def test_what_credentials_lack_is_named() -> None:
    said = refused("gnocchi://", auth_type="keystone")
    assert said == "[service_credentials] auth_url: auth_type password needs it"
    said = refused("gnocchi://", {**PASSWORD, "auth_type": "magic"})
    assert said.startswith("[service_credentials] auth_type: keystoneauth has no 'magic'")
    lacking = {**PASSWORD, "project_domain_name": None, "auth_type": "v3password"}
    assert "project_domain_name" in refused("gnocchi://", lacking)


def test_a_secret_may_stand_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("from-a-file\n")
    section = {"username": "us", "password": f"file:{path}"}
    assert authorization(section=section) == basic("us", "from-a-file")
    path.unlink()
    assert "cannot be read: No such file" in refused("gnocchi://h:1", section)
    section["password"] = "file:relative"
    assert "must begin with /" in refused("gnocchi://h:1", section)


def test_a_password_that_is_refused_is_read_anew_at_the_next_try(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("old\n")
    section = {"username": "us", "password": f"file:{path}"}

    def answer(request: faulty.Request) -> tuple[int, dict[str, str], bytes]:
        right = request.headers["Authorization"] == basic("us", "new")
        return 200 if right else 401, {"Content-Type": "application/json"}, b"[]"

    with faulty.serving(faulty.reply(answer)) as server:
        made = client(f"gnocchi://127.0.0.1:{server.port}", section)
        with pytest.raises(Retryable, match="401"):
            made.archive_policies()
        path.unlink()
        with pytest.raises(Retryable, match=r"\[service_credentials\] password: .* cannot be read"):
            made.archive_policies()
        path.write_text("new\n")
        assert made.archive_policies() == {}
        path.write_text("not looked at while all is well\n")
        assert made.archive_policies() == {}


def test_a_password_that_keystone_refuses_is_read_anew_at_the_next_try(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("old\n")
    headers = {"Content-Type": "application/json", "X-Subject-Token": "a-token"}

    def answer(request: faulty.Request) -> tuple[int, dict[str, str], bytes]:
        if request.method == "GET":
            known = request.headers["X-Auth-Token"] == "a-token"
            return 200 if known else 401, headers, b"[]"
        user = json.loads(request.body)["auth"]["identity"]["password"]["user"]
        if user["password"] == "new":
            token = {"expires_at": "2999-01-01T00:00:00Z", "methods": ["password"]}
            return 201, headers, json.dumps({"token": token}).encode()
        return 401, headers, b'{"error": {"code": 401, "message": "no"}}'

    with faulty.serving(faulty.reply(answer)) as server:
        section = {**PASSWORD, "auth_url": f"{server.url}/v3", "auth_type": "v3password"}
        section["password"] = f"file:{path}"
        made = client(f"gnocchi://127.0.0.1:{server.port}", section)
        with pytest.raises(Retryable, match=r"Keystone at .*: it answers 401"):
            made.archive_policies()
        path.write_text("new\n")
        assert made.archive_policies() == {}


def test_what_keystoneauth_warns_of_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    section = {**PASSWORD, "auth_url": f"http://127.0.0.1:{faulty.closed_port()}/v3"}
    with pytest.raises(Retryable, match="Connection refused"):
        client("gnocchi://", section).archive_policies()
    assert caplog.records == []


def test_options_are_checked_without_reading_files() -> None:
    def checked(section: dict[str, Any], url: str = "gnocchi://") -> None:
        values = {f"service_credentials.{key}": value for key, value in section.items()}
        check_options(urlsplit(url), GnocchiOptions(), Context("here", values))

    gone = {**PASSWORD, "password": "file:/nowhere/password"}
    checked(gone)
    checked({"username": "us", "password": "file:/nowhere/password"}, "gnocchi://h:1")
    with pytest.raises(ConfigError, match="only Keystone could say"):
        checked({})
    with pytest.raises(ConfigError, match="keystoneauth has no 'magic'"):
        checked({**gone, "auth_type": "magic"})


def test_files_of_certificates_must_be_there(tmp_path: Path) -> None:
    gone = str(tmp_path / "ca.pem")
    assert f"{gone}: it cannot be read" in refused("gnocchi://h:1", verify_ssl=gone)
    assert f"{gone}: it cannot be read" in refused("gnocchi://h:1", {"cafile": gone})


def test_the_section_is_chosen_by_the_url_else_by_the_options() -> None:
    values = {
        "gnocchi.username": "one",
        "service_credentials.username": "two",
        "gnocchi.auth_section": "gnocchi",
    }
    for section, user in ((None, "one"), ("service_credentials", "two")):
        with faulty.serving(faulty.ok(b"[]")) as server:
            url = urlsplit(f"gnocchi://127.0.0.1:{server.port}")
            options = msgspec.convert({"auth_section": section}, GnocchiOptions)
            client_of(url, options, Context("here", values)).archive_policies()
            assert server.requests[0].headers["Authorization"] == basic(user)


def test_tls_takes_whom_it_is_told_to_trust(tmp_path: Path) -> None:
    own, other = certificates.certificate(tmp_path), certificates.certificate(tmp_path, "localhost")
    with faulty.serving(faulty.ok(b"[]"), certificates.tls(own)) as server:
        url = f"gnocchi://127.0.0.1:{server.port}"
        assert client(url, ssl=True, verify_ssl=str(own.cert)).archive_policies() == {}
        assert client(url, {"cafile": str(own.cert)}, ssl=True).archive_policies() == {}
        assert client(url, {"insecure": True}, ssl=True).archive_policies() == {}
        assert client(url, ssl=True, verify_ssl="false").archive_policies() == {}
        for chosen in ({}, {"verify_ssl": str(other.cert)}):
            with pytest.raises(Retryable, match="TLS: its certificate is refused"):
                client(url, ssl=True, **chosen).archive_policies()
        with pytest.raises(Retryable):
            client(url).archive_policies()


def test_a_client_certificate_is_shown(tmp_path: Path) -> None:
    own, mine = certificates.certificate(tmp_path), certificates.certificate(tmp_path, "client")
    with faulty.serving(faulty.ok(b"[]"), certificates.tls(own, mine)) as server:
        url = f"gnocchi://127.0.0.1:{server.port}"
        shown = {"cafile": str(own.cert), "certfile": str(mine.cert), "keyfile": str(mine.key)}
        assert client(url, shown, ssl=True).archive_policies() == {}
        with pytest.raises(Retryable):
            client(url, {"cafile": str(own.cert)}, ssl=True).archive_policies()


def test_the_environment_changes_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{faulty.closed_port()}")
    monkeypatch.setenv("OS_PASSWORD", "unused")
    assert authorization() == basic("admin")


def test_a_hanging_keystone_costs_no_more_than_the_timeout() -> None:
    with faulty.serving(faulty.hang) as server:
        section = {**PASSWORD, "auth_url": f"{server.url}/v3"}
        with pytest.raises(Retryable, match=f"{server.port}/v3: no whole answer within 0"):
            client("gnocchi://", section, timeout=0.3).archive_policies()


def test_what_keystone_answers_is_told_without_the_password() -> None:
    body = b'{"error": {"code": 401, "message": "The request needs authentication."}}'
    headers = {"Content-Type": "application/json"}
    with faulty.serving(faulty.status(401, body, headers)) as server:
        section = {**PASSWORD, "auth_url": f"{server.url}/v3", "auth_type": "v3password"}
        with pytest.raises(Retryable) as caught:
            client("gnocchi://", section).archive_policies()
    said = f"Keystone at {server.url}/v3: it answers 401: The request needs authentication."
    assert str(caught.value) == said
