# SPDX-License-Identifier: Apache-2.0
"""What an unquoted YAML scalar means.

The words for true, false and nothing are those of YAML 1.1, which operators' files for OpenStack
are written in. Numbers are those of YAML 1.2 in decimal: ``1e9`` is a number, while octal ``010``,
sexagesimal ``1:30``, dates, ``.inf`` and ``.nan`` stay text, so that nothing is read as another
number than the one that stands there.
"""

from __future__ import annotations

import math
import re
from typing import Final

_INTEGER: Final = re.compile(r"[-+]?(?:0|[1-9](?:_?[0-9]){0,39})")
_FLOAT: Final = re.compile(
    r"[-+]?(?=.{1,64}\Z)(?:[0-9]+\.[0-9]*(?:[eE][-+]?[0-9]+)?"
    r"|\.[0-9]+(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)"
)


def _cases(words: dict[str, bool | None]) -> dict[str, bool | None]:
    return {
        case: value
        for word, value in words.items()
        for case in (word, word.capitalize(), word.upper())
    }


_WORDS: Final = _cases(
    {
        "": None,
        "~": None,
        "null": None,
        "true": True,
        "yes": True,
        "on": True,
        "false": False,
        "no": False,
        "off": False,
    }
)


def resolve(text: str) -> str | int | float | bool | None:
    """Return what an unquoted, untagged scalar means."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        number = float(text)
        return number if math.isfinite(number) else text
    return text
