# SPDX-License-Identifier: Apache-2.0
"""The way to a Gnocchi: where it is, who asks, and requests that end in time."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

import requests
from keystoneauth1 import exceptions, loading
from keystoneauth1.http_basic import HTTPBasicAuth
from keystoneauth1.plugin import BaseAuthPlugin
from keystoneauth1.session import Session

from ceilo_agent import __version__
from ceilo_agent.errors import ConfigError, Fault, Malformed, Retryable
from ceilo_agent.plugins import Context
from ceilo_agent.publishers.gnocchi.client import Client, Reply
from ceilo_agent.publishers.gnocchi.settings import AuthType, GnocchiOptions
from ceilo_agent.publishers.line import Line, fault_on
from ceilo_agent.publishers.secret import Secret
from ceilo_agent.publishers.web import IDLE_AT_MOST

SERVICE_TYPE: Final = "metric"
"""Gnocchi's in Keystone's catalogue."""


def check_url(url: SplitResult) -> None:
    """Look whether a URL can name a Gnocchi.

    Raises:
        ConfigError: it cannot.
    """
    name = f"gnocchi://{url.netloc.rpartition('@')[2]}{url.path}"
    if not url.hostname and (url.netloc or url.path):
        what, hint = "it names no host", "write gnocchi://host:8041, or gnocchi:// for Keystone's"
        raise ConfigError([Fault(name, 0, 0, what, hint)])
    if url.port == 0:
        raise ConfigError([Fault(name, 0, 0, "0 is no port", "write gnocchi://host:8041")])


def client_of(url: SplitResult, options: GnocchiOptions, context: Context) -> Client:
    """Return a client of the Gnocchi that a URL names; nothing is connected.

    Raises:
        ConfigError: the URL, the options and the credentials do not fit together, or a file that
            they name cannot be read.
    """
    check_url(url)
    return Client(_transport(url, options, context))


class _Section(NamedTuple):
    """The credentials of one section of the agent's options."""

    name: str
    values: Mapping[str, Any]

    def get(self, name: str) -> Any:
        return self.values.get(f"{self.name}.{name}")

    def fault(self, name: str, what: str, hint: str = "") -> ConfigError:
        return ConfigError([Fault(f"[{self.name}] {name}", 0, 0, what, hint)])

    def secret(self, name: str) -> str | None:
        text = self.get(name)
        if text is None:
            return None
        try:
            return Secret.parse(text).read()
        except Malformed as error:
            raise self.fault(name, error.what, error.hint) from error
        except OSError as error:
            raise self.fault(name, f"{error.filename} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise self.fault(name, "its file is no UTF-8") from error


def _transport(url: SplitResult, options: GnocchiOptions, context: Context) -> Transport:
    values = context.options
    name = options.auth_section or values.get("gnocchi.auth_section") or "service_credentials"
    section = _Section(name, values)
    kind = options.auth_type or _kind(url, section)
    endpoint = None
    if url.hostname:
        place = url.netloc.rpartition("@")[2]
        endpoint = f"{'https' if options.ssl else 'http'}://{place}{url.path.rstrip('/')}"
    elif kind is not AuthType.KEYSTONE:
        what = "without Keystone, who would say where Gnocchi is?"
        hint = "write gnocchi://host:8041, or auth_url and the rest in [service_credentials]"
        raise ConfigError([Fault("gnocchi://", 0, 0, what, hint)])
    auth: BaseAuthPlugin | None = None
    if kind is AuthType.KEYSTONE:
        auth = _keystone(section)
    elif kind is AuthType.BASIC:
        auth = _basic(url, options, section)
    return Transport(auth, endpoint, section, _trust(options, section), options.timeout)


def _kind(url: SplitResult, section: _Section) -> AuthType:
    """Return how to say who asks where the URL's options do not say it."""
    if url.username is None and section.get("auth_type") == "none":
        return AuthType.NOAUTH
    if url.username is None and section.get("auth_url"):
        return AuthType.KEYSTONE
    return AuthType.BASIC


def _basic(url: SplitResult, options: GnocchiOptions, section: _Section) -> HTTPBasicAuth:
    if url.username is not None:
        return HTTPBasicAuth(None, unquote(url.username), unquote(url.password or ""))
    user = options.user or section.get("username") or "admin"
    password = section.secret("password") if user == section.get("username") else None
    return HTTPBasicAuth(None, user, password or "")


def _keystone(section: _Section) -> BaseAuthPlugin:
    """Return the plugin of keystoneauth that a section asks for."""
    name = section.get("auth_type") or "password"
    try:
        loader: Any = loading.get_plugin_loader(name)
        given: dict[str, Any] = {}
        for option in loader.get_options():
            value = section.secret(option.dest) if option.secret else section.get(option.dest)
            if value is not None:
                given[option.dest] = value
        plugin: BaseAuthPlugin = loader.load_from_options(**given)
    except exceptions.NoMatchingPlugin as error:
        known = sorted(loading.get_available_plugin_names())
        hint = f"there are {', '.join(known)}"
        raise section.fault("auth_type", f"keystoneauth has no '{name}'", hint) from error
    except exceptions.MissingRequiredOptions as error:
        lacking = ", ".join(option.dest for option in error.options)
        raise section.fault(lacking, f"auth_type {name} needs it") from error
    except exceptions.ClientException as error:
        raise section.fault("auth_type", f"{name}: {_short(error)}") from error
    return plugin


class _Trust(NamedTuple):
    """Whom to trust in TLS and what to show, as requests takes them."""

    verify: bool | str
    cert: str | tuple[str, str] | None


def _trust(options: GnocchiOptions, section: _Section) -> _Trust:
    verify: bool | str | None = options.verify_ssl
    if verify is None:
        verify = False if section.get("insecure") else section.get("cafile") or True
    cert, key = section.get("certfile"), section.get("keyfile")
    for path in (verify, cert, key):
        if isinstance(path, str):
            try:
                with open(path, "rb"):  # noqa: PTH123
                    pass
            except OSError as error:
                what = f"it cannot be read: {error.strerror}"
                raise ConfigError([Fault(path, 0, 0, what)]) from error
    return _Trust(verify, (cert, key) if cert and key else cert)


class Transport:
    """Requests to one Gnocchi over one connection, with a token that is renewed as need be.

    Args:
        auth: puts what lets the agent in into each request; None for nothing.
        endpoint: Gnocchi's URL; None to ask Keystone's catalogue.
        section: of the credentials.
        trust: for TLS.
        seconds: that a request may take, that to Keystone before it included.

    Attributes:
        where: whom messages name, without user name and password.
    """

    def __init__(
        self,
        auth: BaseAuthPlugin | None,
        endpoint: str | None,
        section: _Section,
        trust: _Trust,
        seconds: float,
    ) -> None:
        self.where = endpoint or "Gnocchi"
        self._endpoint = endpoint
        self._keystone = "Keystone at " + _place(section.get("auth_url") or "?")
        self._filter = {
            "service_type": SERVICE_TYPE,
            "interface": section.get("interface") or "public",
            "region_name": section.get("region_name"),
        }
        self._seconds = seconds
        self._line = Line()
        self._used = 0.0
        # What the agent does follows from its files alone: no ~/.netrc, no proxies of a shell.
        web = requests.Session()
        web.trust_env = False
        self._adapter = self._line.adapter()
        web.mount("http://", self._adapter)
        web.mount("https://", self._adapter)
        self._session = Session(
            auth,
            session=web,
            verify=trust.verify,
            cert=trust.cert,
            timeout=seconds,
            user_agent=f"ceilo_agent/{__version__}",
        )
        self._auth = auth
        self._by_token = not isinstance(auth, HTTPBasicAuth | None)

    def close(self) -> None:
        """Close the connection; the next request makes another."""
        self._adapter.close()

    def send(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Reply:
        """Send a request; a token that is refused is renewed and the request repeated, once.

        Raises:
            Retryable: nobody answers in time, or Keystone does not let the agent in.
        """
        if time.monotonic() - self._used > IDLE_AT_MOST:
            self.close()
        self._line.begin()
        watch = threading.Timer(self._seconds, self._line.cut)
        watch.daemon = True
        watch.start()
        try:
            return self._exchange(method, path, body, headers)
        except Retryable:
            self.close()
            raise
        except Exception as error:
            # Whatever failed on it, the connection may hold the rest of a reply.
            self.close()
            raise Retryable(f"{self.where}: {self._fault_on(error)}") from error
        finally:
            watch.cancel()
            watch.join()
            self._used = time.monotonic()

    def project_id(self, name: str, domain: str) -> str | None:
        """Return the id of the project of a name in a domain of a name; None if it is not seen.

        Without Keystone there are no names: what is given is the id.

        Raises:
            Retryable: Keystone cannot be asked now.
        """
        if not self._by_token:
            return name
        place = {
            "service_type": "identity",
            "interface": self._filter["interface"],
            "region_name": self._filter["region_name"],
            "version": "3",
        }
        ids: dict[str, str] = {}
        for path, query in (("domains", {"name": domain}), ("projects", {"name": name})):
            asked = query | ({"domain_id": ids["domains"]} if ids else {})
            try:
                reply = self._session.get(
                    f"/{path}", params=asked, endpoint_filter=place, log=False
                )
                found = reply.json()[path]
            except Exception as error:
                raise Retryable(f"{self._keystone}: {self._fault_on(error)}") from error
            if not found:
                return None
            ids[path] = found[0]["id"]
        return ids["projects"]

    def _url(self) -> str:
        """Return Gnocchi's URL; this is where a token is got, if there is none."""
        if self._by_token:
            try:
                self._session.get_auth_headers()
                found = self._endpoint or self._session.get_endpoint(
                    **self._filter, skip_discovery=True
                )
            except Exception as error:
                raise Retryable(f"{self._keystone}: {self._fault_on(error)}") from error
            if not found:
                asked = ", ".join(f"{key} {value}" for key, value in self._filter.items() if value)
                raise Retryable(f"{self._keystone}: its catalogue has no endpoint of {asked}")
            self.where = _place(found)
            return found.rstrip("/").removesuffix("/v1")
        assert self._endpoint is not None
        return self._endpoint

    def _exchange(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Reply:
        url = self._url()
        response = self._session.request(
            url + path,
            method,
            data=body,
            headers={"Accept-Encoding": "identity", **headers},
            authenticated=self._auth is not None,
            redirect=False,
            raise_exc=False,
            log=False,
        )
        if self._line.late:
            # Headers that were cut short look like whole ones.
            raise TimeoutError
        return Reply(response.status_code, response.headers, response.content)

    def _fault_on(self, error: Exception) -> str:
        if self._line.late:
            return f"no whole answer within {self._seconds:g} s"
        if isinstance(error, exceptions.HttpError):
            return f"it answers {error.http_status}: {_short(error)}"
        if isinstance(error, exceptions.ClientException) and error.__context__ is None:
            return _short(error)
        return fault_on(error, self._seconds)


def _place(url: str) -> str:
    """Return a URL without user name, password and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _short(error: exceptions.ClientException) -> str:
    """Return keystoneauth's words without the ids that it adds."""
    return " ".join(str(error.message).split("(HTTP")[0].split())[:300]
