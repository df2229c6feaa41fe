# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a broker, in words for its operator, without a password."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ceilo_agent.definition.secret import masked, without_secrets

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


def hosts(url: str) -> list[str]:
    """Return the hosts of a URL, each with its port if that stands there."""
    netloc = masked(url).partition("://")[2].partition("/")[0]
    return [each.rpartition("@")[2] for each in netloc.split(",") if each]


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
