# SPDX-License-Identifier: Apache-2.0
"""The way to a Gnocchi: where it is, who asks, and requests that end in time."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

import requests
from keystoneauth1 import exceptions
from keystoneauth1.http_basic import HTTPBasicAuth
from keystoneauth1.session import Session

from ceilo_agent import __version__
from ceilo_agent.errors import ConfigError, Fault, Retryable
from ceilo_agent.openstack.credentials import Section, short
from ceilo_agent.plugins import Context
from ceilo_agent.publishers.gnocchi.client import Client, Reply
from ceilo_agent.publishers.gnocchi.credentials import Credentials
from ceilo_agent.publishers.gnocchi.settings import AuthType, GnocchiOptions
from ceilo_agent.publishers.line import Line, fault_on
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
    try:
        port = url.port
    except ValueError:
        port = 0
    if port == 0:
        raise ConfigError([Fault(name, 0, 0, "its port is none", "write gnocchi://host:8041")])


def check_options(url: SplitResult, options: GnocchiOptions, context: Context) -> None:
    """Look whether the agent's options say who asks and where Gnocchi is; nothing is read.

    Raises:
        ConfigError: they do not.
    """
    Credentials(url, options, context).check()


def client_of(url: SplitResult, options: GnocchiOptions, context: Context) -> Client:
    """Return a client of the Gnocchi that a URL names; nothing is connected.

    Raises:
        ConfigError: the URL, the options and the credentials do not fit together, or a file that
            they name cannot be read.
    """
    check_url(url)
    return Client(_transport(url, options, context))


def _transport(url: SplitResult, options: GnocchiOptions, context: Context) -> Transport:
    credentials = Credentials(url, options, context)
    endpoint = None
    if url.hostname:
        place = url.netloc.rpartition("@")[2]
        endpoint = f"{'https' if options.ssl else 'http'}://{place}{url.path.rstrip('/')}"
    return Transport(credentials, endpoint, _trust(options, credentials.section), options.timeout)


class _Trust(NamedTuple):
    """Whom to trust in TLS and what to show, as requests takes them."""

    verify: bool | str
    cert: str | tuple[str, str] | None


def _trust(options: GnocchiOptions, section: Section) -> _Trust:
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
        credentials: let the agent in. Where they do not, files of secrets are read anew at the
            next request.
        endpoint: Gnocchi's URL; None to ask Keystone's catalogue.
        trust: for TLS.
        seconds: that a request may take, that to Keystone before it included.

    Attributes:
        where: whom messages name, without user name and password.

    Raises:
        ConfigError: the credentials cannot be used.
    """

    def __init__(
        self, credentials: Credentials, endpoint: str | None, trust: _Trust, seconds: float
    ) -> None:
        self.where = endpoint or "Gnocchi"
        self._endpoint = endpoint
        self._credentials = credentials
        self._refused = False
        section = credentials.section
        auth = credentials.load()
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
        self._by_token = credentials.kind is AuthType.KEYSTONE and not isinstance(
            auth, HTTPBasicAuth
        )

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
            raise self._failure(self.where, error) from error
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
        self._renew()
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
                raise self._failure(self._keystone, error) from error
            if not found:
                return None
            ids[path] = found[0]["id"]
        return ids["projects"]

    def _renew(self) -> None:
        """Take the credentials as their files have them now, if the last ones were refused."""
        if not self._refused:
            return
        try:
            self._session.auth = self._credentials.load()
        except ConfigError as error:
            raise Retryable(str(error)) from error
        self._refused = False

    def _url(self) -> str:
        """Return Gnocchi's URL; this is where a token is got, if there is none."""
        if self._by_token:
            try:
                self._session.get_auth_headers()
                found = self._endpoint or self._session.get_endpoint(
                    **self._filter, skip_discovery=True
                )
            except Exception as error:
                raise self._failure(self._keystone, error) from error
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
        self._renew()
        url = self._url()
        response = self._session.request(
            url + path,
            method,
            data=body,
            headers={"Accept-Encoding": "identity", **headers},
            authenticated=self._session.auth is not None,
            redirect=False,
            raise_exc=False,
            log=False,
        )
        if self._line.late:
            # Headers that were cut short look like whole ones.
            raise TimeoutError
        self._refused = response.status_code == requests.codes.unauthorized
        return Reply(response.status_code, response.headers, response.content)

    def _failure(self, where: str, error: Exception) -> Retryable:
        if isinstance(error, exceptions.HttpError):
            # Gnocchi's answers are returned, whatever their status.
            where = self._keystone
            self._refused = isinstance(error, exceptions.Unauthorized)
        return Retryable(f"{where}: {self._fault_on(error)}")

    def _fault_on(self, error: Exception) -> str:
        if self._line.late:
            return f"no whole answer within {self._seconds:g} s"
        if isinstance(error, exceptions.HttpError):
            return f"it answers {error.http_status}: {short(error)}"
        if isinstance(error, exceptions.ClientException) and error.__context__ is None:
            return short(error)
        return fault_on(error, self._seconds)


def _place(url: str) -> str:
    """Return a URL without user name, password and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
