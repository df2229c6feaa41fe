# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a broker, in words for its operator, without a password."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

_SCHEME: Final = re.compile(r"[\w+.-]*://|//")

_URL: Final = re.compile(r"[\w+]+://[^\s'\"]*")

_MEANINGS: Final = {
    "ACCESS_REFUSED": "the broker refuses the user or the password",
    "Check login credentials": "the broker refuses the user or the password",
    "NOT_ALLOWED": "the broker has no such virtual host, or the user may not enter it",
    "Connection refused": "nobody listens there",
    "ECONNREFUSED": "nobody listens there",
    "CERTIFICATE_VERIFY_FAILED": "the broker's certificate is not trusted",
    "WRONG_VERSION_NUMBER": "TLS is asked for, which the broker does not speak at this port",
    "Name or service not known": "no such host is known",
    "failure in name resolution": "no such host is known",
    "PRECONDITION_FAILED": "the broker has it under other properties, such as durable; "
    "[oslo_messaging_rabbit] must be the same wherever it is used",
    "timed out": "the broker does not answer",
    "Basic.cancel": "a queue was deleted; it is declared again",
    "NOT_FOUND - no exchange": "the exchange was deleted; it is declared again",
    "resource_locked": "another connection has the queue for itself",
    "CONNECTION_FORCED": "the broker closed the connection",
    "Connection reset": "the broker closed the connection",
    "Socket closed": "the broker closed the connection",
    "Server unexpectedly closed connection": "the broker closed the connection",
    "Broken pipe": "the broker closed the connection",
}
"""By what is in the words of the libraries."""


def masked(url: str) -> str:
    """Return a URL without the names and passwords of its hosts.

    Passwords may hold what ought to be escaped: rather a host is left out than a part of one shown.
    """
    start = _SCHEME.match(url)
    scheme = start[0] if start else ""
    before, at, last = url[len(scheme) :].rpartition("@")
    if not at:
        return url
    # user:password@first,user:password - of a list of hosts all but the last host.
    parts = before.split("@")
    pairs = [part.partition(",") for part in parts[1:]]
    plain = "/" not in before and before.count(",") == len(pairs)
    hosts = [host for host, _, _ in pairs] if plain else []
    return scheme + ",".join(f"***@{host}" for host in [*hosts, last])


def hosts(url: str) -> list[str]:
    """Return the hosts of a URL, each with its port if that stands there."""
    netloc = masked(url).partition("://")[2].partition("/")[0]
    return [each.rpartition("@")[2] for each in netloc.split(",") if each]


def without_secrets(text: str) -> str:
    """Return a text with every URL in it masked."""
    return _URL.sub(lambda found: masked(found[0]), text)


def meaning(said: str) -> str:
    """Return what a library's words mean, empty if that is not known."""
    lower = said.lower()
    return next((words for sign, words in _MEANINGS.items() if sign.lower() in lower), "")


def words(error: BaseException) -> str:
    """Return what an error that a driver raised means."""
    said = list(_reasons(error))
    return meaning(" ".join(said)) or without_secrets(said[0])


def _reasons(error: BaseException) -> Iterator[str]:
    """Yield what an error says, and what brought it about, outermost first."""
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        yield str(found).strip() or type(found).__name__
        found = found.__cause__ or found.__context__
