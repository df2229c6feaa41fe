# SPDX-License-Identifier: Apache-2.0
"""What counts as a number: a finite float, or an integer that 64 bits hold, signed or unsigned.

That is what MessagePack carries and what every publisher can take. A boolean is none.
"""

from __future__ import annotations

from math import isfinite
from typing import Final, TypeGuard

from ceilo_agent.sample import Volume

LEAST: Final = -(2**63)
BEYOND: Final = 2**64
"""Integers from LEAST to below BEYOND keep every digit."""


def is_volume(value: object) -> TypeGuard[Volume]:
    """Return whether a value can be a sample's volume as it is."""
    kind = type(value)
    if kind is float:
        return isfinite(value)  # type: ignore[arg-type]
    return kind is int and LEAST <= value < BEYOND  # type: ignore[operator]


def fit(value: object) -> Volume | None:
    """Return a value as a volume; a larger integer becomes a float. None: it cannot be one."""
    if is_volume(value):
        return value
    if type(value) is not int:
        return None
    try:
        return float(value)
    except OverflowError:
        return None
