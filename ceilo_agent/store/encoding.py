# SPDX-License-Identifier: Apache-2.0
"""How times, volumes and metadata stand in the store; nothing here fails on odd input."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ceilo_agent.sample import Volume, microseconds

EARLIEST: Final = -62_135_596_800.0
"""The first second of year 1, UTC: what `datetime` can hold."""
LATEST: Final = 253_402_300_799.0
"""The last second of year 9999, UTC."""

INT_MIN: Final = -(2**63)
INT_MAX: Final = 2**63 - 1
INT_BITS: Final = 1024
"""Longer integers are no measurement; beyond some thousand digits Python refuses to print them."""


def to_micros(time: float) -> int | None:
    """Return UTC seconds as whole microseconds, None if that is no date (NaN, year 10000)."""
    return microseconds(time) if EARLIEST <= time <= LATEST else None


def to_seconds(micros: int) -> float:
    """Return whole microseconds as UTC seconds."""
    return micros / 1e6


def to_cell(volume: object) -> int | float | str | None:
    """Return what stands in the store for a volume, None if it is no finite number.

    SQLite's integers are signed and have 64 bits: longer ones are text.
    """
    if isinstance(volume, int):
        if INT_MIN <= volume <= INT_MAX:
            return int(volume)
        return str(volume) if volume.bit_length() <= INT_BITS else None
    if isinstance(volume, float) and math.isfinite(volume):
        return volume
    return None


def from_cell(cell: int | float | str) -> Volume:
    """Return the volume that `to_cell` stored."""
    return int(cell) if isinstance(cell, str) else cell


def clean(text: str) -> str:
    """Return text that UTF-8 can hold: lone surrogates, from bytes that were none, become ``?``."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _plain(odd: object) -> object:
    return dict(odd) if isinstance(odd, Mapping) else str(odd)


_encoder: Final = msgspec.json.Encoder(enc_hook=_plain)


def encode_json(value: object) -> bytes:
    """Return a value as JSON in UTF-8; what JSON cannot hold becomes text."""
    try:
        return _encoder.encode(value)
    except (TypeError, ValueError, OverflowError):
        # Not UTF-8, keys of several types, an integer of more than 64 bits: slow but sure.
        text = json.dumps(value, ensure_ascii=False, skipkeys=True, default=_plain)
        return text.encode("utf-8", "replace")


def decode_metadata(text: str) -> dict[str, Any]:
    """Return the metadata that `encode_json` stored."""
    found: dict[str, Any] = json.loads(text)
    return found
