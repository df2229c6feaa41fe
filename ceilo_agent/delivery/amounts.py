# SPDX-License-Identifier: Apache-2.0
"""Bytes and spans of time as people read them."""

from __future__ import annotations

from typing import Final

_BYTES: Final = ("B", "KiB", "MiB", "GiB", "TiB")
_SECONDS: Final = (("d", 86400), ("h", 3600), ("min", 60))


def size(count: float) -> str:
    """Return bytes: three figures and a binary unit."""
    unit = 0
    while count >= 1000 and unit < len(_BYTES) - 1:
        count, unit = count / 1024, unit + 1
    digits = 0 if not unit else 2 if count < 10 else 1 if count < 100 else 0
    return f"{count:.{digits}f} {_BYTES[unit]}"


def span(seconds: float) -> str:
    """Return a span of time in the largest unit that it fills: ``7 d``, ``1.5 h``, ``40 s``."""
    for unit, length in _SECONDS:
        if seconds >= length:
            return f"{seconds / length:.1f}".removesuffix(".0") + f" {unit}"
    return f"{seconds:.0f} s"


def samples(count: int) -> str:
    """Return a number of samples: ``1 sample``, ``2 samples``."""
    return f"{count} sample{'' if count == 1 else 's'}"
