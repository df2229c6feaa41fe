# SPDX-License-Identifier: Apache-2.0
"""Durations as people write them; in a pipeline file they are numbers of seconds."""

from __future__ import annotations

import re
from typing import Final

_UNITS: Final = {"": 1, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


def seconds(value: object, most: int) -> str:
    """Return what to write for a duration such as 60s or 5m, empty for anything else.

    Args:
        value: what the operator wrote.
        most: seconds that may be written.
    """
    if isinstance(value, str) and (match := re.fullmatch(r"(\d{1,5}) ?([a-z]*)", value)):
        found = int(match[1]) * _UNITS.get(match[2], 0)
        if 0 < found <= most:
            return f"write {found}"
    return ""
