# SPDX-License-Identifier: Apache-2.0
"""What an HTTP reply means for the batch that was sent."""

from __future__ import annotations

import re
from typing import Final

from ceilo_agent.errors import DeliveryError, Permanent, Retryable
from ceilo_agent.http_faults import asked_pause
from ceilo_agent.publishers.rendering import printable

FOREVER: Final = frozenset({400, 413, 422})
"""Of the batch itself: sent again as it is, it is refused again. All else may be mended: by time,
or by an operator who gives the right password, address, form or version."""

OF_TLS: Final = re.compile(
    "HTTP request (was sent )?to (an )?HTTPS|speaking plain HTTP|SSL certificate", re.IGNORECASE
)
"""What servers in Go, nginx and Apache say with a 400 of the connection, not of what was sent."""

SHOWN: Final = 300
"""Letters of a reply's text that a message shows."""


def fault_of(
    where: str, status: int, text: str = "", retry_after: str | None = None
) -> DeliveryError:
    """Return the error for a reply that is no success.

    Args:
        where: who was asked, without user name and password.
        status: of the reply (RFC 9110).
        text: of the reply, or the part of it that says why.
        retry_after: the header of this name: seconds, or a date (RFC 9110, 10.2.3).
    """
    said = printable(" ".join(text.split())[:SHOWN])
    message = f"{where} answers {status}" + (f": {said}" if said else "")
    if status in FOREVER and not OF_TLS.search(said):
        return Permanent(message)
    return Retryable(message, asked_pause(retry_after))
