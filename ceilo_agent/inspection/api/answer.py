# SPDX-License-Identifier: Apache-2.0
"""What is asked over HTTP, what came of it, and why nothing did."""

from __future__ import annotations

import http.client
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import urljoin, urlsplit

import urllib3

from ceilo_agent.definition.secret import masked
from ceilo_agent.errors import CeiloAgentError
from ceilo_agent.http_faults import causes, words_of

SHOWN: Final = 200
"""Letters of a text of others that a message shows."""


class Unanswered(CeiloAgentError):
    """A request that gave nothing that can be used; the message says why, without secrets.

    Attributes:
        again: whether the same request may succeed at once.
        dead: whether nobody is there at all: no other request of that endpoint would succeed.
        late: whether time was over.
    """

    def __init__(
        self, reason: str, *, again: bool = False, dead: bool = False, late: bool = False
    ) -> None:
        self.again = again
        self.dead = dead
        self.late = late
        super().__init__(reason)


class Tls(NamedTuple):
    """How a server's certificate is looked at, and which one is shown to it: paths of PEM files."""

    cafile: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    insecure: bool = False


class Origin(NamedTuple):
    """Who is asked: connections, rates and limits are shared by what has the same one."""

    scheme: str
    host: str
    port: int
    tls: Tls = Tls()

    @property
    def shown(self) -> str:
        """The URL of it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = {"http": 80, "https": 443}[self.scheme] == self.port
        return f"{self.scheme}://{host}" + ("" if usual else f":{self.port}")


class Access(Protocol):
    """Says who asks."""

    def headers(self, method: str, url: str) -> Mapping[str, str]:
        """Return the headers that let a request in.

        Raises:
            Unanswered: they cannot be had now.
        """

    def rejected(self) -> bool:
        """Hear that the last ones were refused; return whether others can be had."""


class Ask(NamedTuple):
    """A request, and what it may cost.

    Attributes:
        method: GET or HEAD.
        url: absolute.
        headers: of the definition.
        access: says who asks.
        tls: for https.
        timeout: seconds for one answer, to its last byte.
        retries: how often it is tried again.
        max_bytes: of the answer, unpacked.
        concurrency: requests at a time to its endpoint.
        rate: requests a second to its endpoint, None: any.
        empty: statuses by which the API says that there is nothing.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    access: Access
    tls: Tls
    timeout: float
    retries: int
    max_bytes: int
    concurrency: int
    rate: float | None
    empty: tuple[int, ...] = ()


class Answer(NamedTuple):
    """What a server answered.

    Attributes:
        url: that was asked last, after redirects.
        status: from 200 to 299, or one of `Ask.empty`, where `Fetcher.get` returns it.
        headers: names in lower case.
        body: unpacked.
    """

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes


def origin_of(url: str, tls: Tls) -> Origin:
    """Return who a URL asks.

    Raises:
        Unanswered: it is no absolute URL of HTTP.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Unanswered(f"no URL: {place(url)}") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise Unanswered(f"no http:// or https:// URL: {place(url)}")
    secure = parts.scheme == "https"
    return Origin(
        parts.scheme, parts.hostname, port or (443 if secure else 80), tls if secure else Tls()
    )


def linked(url: str, link: str) -> str:
    """Return the URL that a link on a page means.

    Raises:
        Unanswered: it means none.
    """
    try:
        return urljoin(url, link)
    except ValueError as error:
        raise Unanswered(f"it leads to what is no URL: {place(link)}") from error


def elsewhere(url: str, origin: Origin) -> str:
    """Say to whom a URL leads, if it leads away from a server; else return nothing.

    Raises:
        Unanswered: it is no absolute URL of HTTP.
    """
    found = origin_of(url, origin.tls)
    if found.host != origin.host:
        return f"to another host, {place(url)}"
    if found.scheme != origin.scheme:
        return f"to another scheme, {place(url)}"
    return "" if found.port == origin.port else f"to another port, {place(url)}"


def place(url: str) -> str:
    """Return a URL without user name, password and query, one line."""
    bare = re.split("[?#]", masked(url), maxsplit=1)[0]
    return re.sub(r"[^\x20-\x7e]", "?", bare)[:SHOWN]


def is_late(error: BaseException) -> bool:
    """Return whether an error says that time was over."""
    # urllib3 counts a connection that is refused among the timeouts.
    return isinstance(error, TimeoutError | urllib3.exceptions.TimeoutError) and not isinstance(
        error, urllib3.exceptions.NewConnectionError
    )


def reason_of(error: Exception, limit: str) -> str:
    """Say in a few words why a request got no answer, without its URL.

    Args:
        error: of a socket, of OpenSSL or of urllib3.
        limit: how long it had, in words.
    """
    behind = list(causes(error))
    found = (words for cause in behind if (words := _words(cause, limit)))
    return next(found, f"no answer in HTTP ({type(behind[-1]).__name__})")


def _words(cause: BaseException, limit: str) -> str:
    """Return what an error says by itself, empty for nothing."""
    if is_late(cause):
        return f"no whole answer {limit}"
    for kind, said in _SAID:
        if isinstance(cause, kind):
            return said
    return words_of(cause) if isinstance(cause, OSError) else ""


_SAID: Final[tuple[tuple[Any, str], ...]] = (
    (http.client.IncompleteRead, "the connection ended amid the answer"),
    (urllib3.exceptions.IncompleteRead, "the connection ended amid the answer"),
    (urllib3.exceptions.LocationParseError, "its host has no name that DNS could know"),
)
