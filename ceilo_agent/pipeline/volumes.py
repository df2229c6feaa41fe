# SPDX-License-Identifier: Apache-2.0
"""What counts as a number."""

from __future__ import annotations

from math import isfinite
from typing import TypeGuard

from ceilo_agent.sample import Volume


def is_volume(value: object) -> TypeGuard[Volume]:
    """Return whether a value can be a sample's volume: an integer or a finite float, no boolean."""
    kind = type(value)
    return kind is int or (kind is float and isfinite(value))  # type: ignore[arg-type]
