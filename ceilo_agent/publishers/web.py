# SPDX-License-Identifier: Apache-2.0
"""HTTP for publishers: one POST at a time, bounded in time and size, every fault in one line.

Redirects are not followed. Proxies of the environment, ``~/.netrc`` and cookies are not used: what
an agent does follows from its files alone.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, NamedTuple
from urllib.parse import SplitResult, unquote

import requests
from requests.adapters import HTTPAdapter
from requests.auth import HTTPBasicAuth

from ceilo_agent import __version__
from ceilo_agent.errors import ConfigError, Fault, Retryable
from ceilo_agent.publishers.line import Line, fault_on
from ceilo_agent.publishers.replies import fault_of
from ceilo_agent.publishers.web_options import WebOptions

REPLY_AT_MOST: Final = 64 << 10
"""Bytes of a reply that are read; what is longer is cut, and its connection closed."""

IDLE_AT_MOST: Final = 2.0
"""Seconds after which a connection is not used again: servers close theirs, some after 2 s
(gunicorn), and what is sent into such a closing is lost without a reply."""


class Reply(NamedTuple):
    """What a server answered.

    Attributes:
        status: from 200 to 299 where `Web.post` returns it.
        headers: by name, in any case.
        body: at most REPLY_AT_MOST bytes.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


def check_url(url: SplitResult, example: str) -> None:
    """Look whether a URL names a host and has no wrong port.

    Args:
        url: what the operator wrote.
        example: a URL as it should be, for the hint.

    Raises:
        ConfigError: it does not.
    """
    name = f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}"
    try:
        host, port = url.hostname, url.port
    except ValueError:
        host, port = None, None
    if not host or port == 0:
        what = "it names no host" if not host else "0 is no port"
        raise ConfigError([Fault(name, 0, 0, what, f"write {example}")])


class Web:
    """A server that takes POSTs, one after the other, over a connection that is kept.

    Args:
        target: the ``http://`` or ``https://`` URL that is posted to, query included. User name and
            password in it are used for basic authentication and shown nowhere.
        options: how.
        explain: what a message says of a reply that is no success.
    """

    def __init__(
        self,
        target: SplitResult,
        options: WebOptions,
        explain: Callable[[Reply], str] | None = None,
    ) -> None:
        user, at, place = target.netloc.rpartition("@")
        self.where: Final = f"{target.scheme}://{place}{target.path}"
        """Whom messages name: the URL without user name, password and query."""
        self._url = target._replace(netloc=place).geturl()
        self._user = tuple(map(unquote, user.partition(":")[::2])) if at else None
        self._options = options
        self._explain = explain or words_of
        self._line = Line()
        self._adapter: HTTPAdapter | None = None
        self._used = 0.0

    def open(self) -> None:
        """Look whether a request can be made; nothing is connected.

        Raises:
            ConfigError: a file that the options name cannot be read, a header or the URL cannot be
                sent, or the URL and the options both name a user.
        """
        options = self._options
        if self._user and (options.username is not None or options.bearer_token is not None):
            what = "the URL and the options both say who asks"
            raise ConfigError([Fault(self.where, 0, 0, what, "take the user out of the URL")])
        try:
            self._prepare(b"", {})
            for path in (options.verify_ssl, options.clientcert, options.clientkey):
                if isinstance(path, str):
                    with open(path, "rb"):  # noqa: PTH123
                        pass
        except (OSError, ValueError) as error:
            raise ConfigError([Fault(self.where, 0, 0, _unreadable(error))]) from error

    def post(self, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Send a request and return the reply that says it succeeded.

        Args:
            body: of the request.
            headers: of the request, Content-Type among them; those of the options come on top.

        Raises:
            Retryable: nobody answers, in time and in HTTP, or the answer may change.
            Permanent: the server will never take this body.
        """
        try:
            request = self._prepare(body, headers)
        except (OSError, ValueError) as error:
            raise Retryable(f"{self.where}: {_unreadable(error)}") from error
        reply = self._send(request)
        if HTTPStatus.OK <= reply.status < HTTPStatus.MULTIPLE_CHOICES:
            return reply
        raise fault_of(
            self.where, reply.status, self._explain(reply), reply.headers.get("Retry-After")
        )

    def close(self) -> None:
        """Close the connection; the next post makes another."""
        if self._adapter is not None:
            self._adapter.close()
            self._adapter = None

    def _credentials(self) -> tuple[dict[str, str], HTTPBasicAuth | None]:
        """Return headers and authentication, secrets read."""
        options = self._options
        headers = {name: secret.read() for name, secret in options.headers.items()}
        if options.bearer_token is not None:
            headers["Authorization"] = f"Bearer {options.bearer_token.read()}"
        if options.username is not None:
            password = "" if options.password is None else options.password.read()
            return headers, _basic(options.username, password)
        return headers, _basic(*self._user) if self._user else None

    def _prepare(self, body: bytes, headers: Mapping[str, str]) -> requests.PreparedRequest:
        more, user = self._credentials()
        # A packed reply could unpack to any size.
        own = {"User-Agent": f"ceilo_agent/{__version__}", "Accept-Encoding": "identity"}
        merged = {**own, **headers, **more}
        return requests.Request("POST", self._url, merged, data=body, auth=user).prepare()

    def _send(self, request: requests.PreparedRequest) -> Reply:
        if time.monotonic() - self._used > IDLE_AT_MOST:
            self.close()
        if self._adapter is None:
            self._adapter = self._line.adapter()
        seconds = self._options.timeout
        watch = threading.Timer(seconds, self._line.cut)
        watch.daemon = True
        self._line.begin()
        try:
            watch.start()
        except RuntimeError as error:
            raise Retryable(f"{self.where}: not asked any more, the agent ends") from error
        try:
            return self._exchange(self._adapter, request)
        except Exception as error:
            # Whatever failed on it, the connection may hold the rest of a reply.
            self.close()
            if self._line.late:
                what = f"no whole answer within {seconds:g} s"
            else:
                what = fault_on(error, seconds)
            raise Retryable(f"{self.where}: {what}") from error
        finally:
            watch.cancel()
            watch.join()
            self._used = time.monotonic()

    def _exchange(self, adapter: HTTPAdapter, request: requests.PreparedRequest) -> Reply:
        options = self._options
        cert: Any = options.clientcert
        if options.clientkey is not None:
            cert = (options.clientcert, options.clientkey)
        proxies = {} if options.proxy is None else dict.fromkeys(("http", "https"), options.proxy)
        response = adapter.send(
            request,
            stream=True,
            timeout=options.timeout,
            verify=options.verify_ssl,
            cert=cert,
            proxies=proxies,
        )
        body = b""
        # To its end: only there urllib3 sees that a reply was cut short.
        while part := response.raw.read(REPLY_AT_MOST + 1 - len(body), decode_content=False):
            body += part
            if len(body) > REPLY_AT_MOST:
                self.close()
                break
        if self._line.late:
            # The end of a connection may look like the end of a reply.
            raise TimeoutError
        return Reply(response.status_code, response.headers, body[:REPLY_AT_MOST])


def _basic(username: str, password: str) -> HTTPBasicAuth:
    # requests would encode texts in Latin-1 (RFC 7617 leaves it open; servers take UTF-8).
    return HTTPBasicAuth(username.encode(), password.encode())


def _unreadable(error: OSError | ValueError) -> str:
    """Say which file cannot be read, or what cannot be sent; never a secret."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename} cannot be read: {error.strerror}"
    if isinstance(error, requests.exceptions.InvalidURL):
        return "the URL's host cannot be read"
    if isinstance(error, UnicodeDecodeError):
        return "the file of a secret is no UTF-8"
    return "a header of the options cannot be sent: it holds a line break or a blank in its name"


def words_of(reply: Reply) -> str:
    """Return the text of a reply, an HTML page without its tags; where to, of a redirect."""
    if moved := reply.headers.get("Location"):
        return f"it moved to {moved.partition('?')[0].rpartition('@')[2]}"
    text = reply.body.decode("utf-8", "replace")
    if "html" in reply.headers.get("Content-Type", ""):
        text = re.sub(r"(?s)<(style|script).*?</\1>|<[^>]*>", " ", text)
    return text
