# SPDX-License-Identifier: Apache-2.0
"""What goes wrong below HTTP, in words, and how long a server asks to wait.

The texts of urllib3 and requests repeat the URL, which may hold a secret; those of the operating
system and of OpenSSL do not.
"""

from __future__ import annotations

import email.utils
import http.client
import logging
import re
import socket
import ssl
import time
from collections.abc import Iterator
from typing import Any, Final

SHOWN: Final = 200
"""Letters of OpenSSL's words that a message shows."""

# They would log whole URLs, what they hold after the ? included.
logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)
for _name in ("urllib3.connection", "urllib3.response"):
    logging.getLogger(_name).setLevel(logging.ERROR)


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those behind it: chained, or carried as urllib3's and requests' do."""
    seen: set[int] = set()
    rest: list[Any] = [error]
    while rest:
        one = rest.pop(0)
        if isinstance(one, BaseException) and id(one) not in seen:
            seen.add(id(one))
            yield one
            rest += [getattr(one, "reason", None), *one.args, one.__cause__, one.__context__]


def words_of(error: OSError) -> str:
    """Say what the operating system or OpenSSL told; empty if it told nothing."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS: its certificate is refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        words = re.sub(r"\s*\(_ssl\.c:\d+\)", "", error.reason or str(error))
        return f"TLS: {words.replace('_', ' ').lower()[:SHOWN]}"
    if isinstance(error, http.client.RemoteDisconnected):
        return "the connection ended without an answer"
    if isinstance(error, socket.gaierror):
        return f"its name is not known: {error.strerror}"
    return error.strerror or ""


def asked_pause(retry_after: str | None) -> float | None:
    """Return the seconds that a Retry-After header asks for, None if it says nothing readable.

    They may be written as such or as a date (RFC 9110, 10.2.3).
    """
    text = (retry_after or "").strip()
    if text.isdecimal():
        return float(text[:9])
    try:
        then = email.utils.parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
    return max(0.0, then - time.time())
