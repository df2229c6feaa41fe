# SPDX-License-Identifier: Apache-2.0
"""What operators wrote, made fit for a message."""

from __future__ import annotations

import re
from typing import Final

SHOWN_LENGTH: Final = 60
_USER_INFO: Final = re.compile(r"^(\W*[A-Za-z][A-Za-z0-9+.-]*:/*)?.*@", re.DOTALL)
_QUERY: Final = re.compile(r"(://[^?]*\?).*", re.DOTALL)
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def shown(text: str) -> str:
    """Return a text of the operator fit for a message: one short line.

    What stands before an ``@`` may be a password, and so may the query of a URL: both are masked.
    """
    masked = _QUERY.sub(r"\1***", text)
    if "@" in masked:
        masked = _USER_INFO.sub(lambda found: (found[1] or "") + "***@", masked)
    line = one_line(masked[: SHOWN_LENGTH + 1])
    return line if len(line) <= SHOWN_LENGTH else line[: SHOWN_LENGTH - 3] + "..."


def one_line(text: str) -> str:
    """Return a text with what cannot be printed as its escapes."""
    return _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)
