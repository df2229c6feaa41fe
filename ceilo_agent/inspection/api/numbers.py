# SPDX-License-Identifier: Apache-2.0
"""From what an API calls a value to a volume."""

from __future__ import annotations

import re
from math import isfinite
from typing import Any, Final

from ceilo_agent.errors import CeiloAgentError
from ceilo_agent.sample import Volume
from ceilo_agent.volumes import fit

_NUMBER: Final = re.compile(r"[+-]?(\d{1,400}(\.\d*)?|\.\d+)([eE][+-]?\d{1,4})?", re.ASCII)
_WHOLE: Final = re.compile(r"[+-]?\d+", re.ASCII)
_LONGEST: Final = 500
_KINDS: Final = {"dict": "mapping", "list": "list", "NoneType": "null"}


class NoNumber(CeiloAgentError):
    """A value that can be no volume; the message says what it is, alike for all of a kind."""


def volume_of(value: Any) -> Volume:
    """Return a value as a volume; a text that is a number counts as the number.

    Raises:
        NoNumber: it is none.
    """
    if isinstance(value, bool):
        raise NoNumber("a boolean is no number (value_mapping can give one)")
    if isinstance(value, str):
        value = _of_text(value)
    if not isinstance(value, int | float):
        raise NoNumber(f"a {_KINDS.get(type(value).__name__, 'value')} is no number")
    if isinstance(value, float) and not isfinite(value):
        raise NoNumber("NaN and infinity are no numbers")
    found = fit(value)
    if found is None:
        raise NoNumber("a number beyond every float")
    return found


def _of_text(text: str) -> Any:
    bare = text.strip()
    if len(bare) > _LONGEST or not _NUMBER.fullmatch(bare):
        raise NoNumber("a text is no number (value_mapping can give one)")
    return int(bare) if _WHOLE.fullmatch(bare) else float(bare)
