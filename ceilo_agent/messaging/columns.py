# SPDX-License-Identifier: Apache-2.0
"""Columns of samples: what they share, by index, and what they gained since their last readings."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Final, TypeVar

import msgspec

from ceilo_agent.sample import FIRST, UNTRACKED, History, Previous, Volume

Shared = TypeVar("Shared", bound=Hashable)

Elapsed = float | bool
"""Seconds since the reading before; true: there is none before; false: that is not known."""

Change = int | float | tuple[Volume]
"""What a volume gained since the reading before, if it is an integer; else the volume then, in a
tuple if it was an integer itself. 0.0 without a reading before."""

INTEGERS: Final = range(-(2**63), 2**64)
"""What MessagePack can hold."""

_ENCODER: Final = msgspec.msgpack.Encoder()


def table(items: Sequence[Shared]) -> tuple[list[Shared], list[int]]:
    """Return each item once, and the index of each in that."""
    found = list(dict.fromkeys(items))
    numbers = dict(zip(found, range(len(found)), strict=True))
    return found, list(map(numbers.__getitem__, items))


def changes(
    previous: Sequence[Previous | History], volumes: Sequence[Volume]
) -> tuple[list[Elapsed], list[Change]]:
    """Return the readings before, in two columns.

    Gains are small numbers mostly. A float stands as it was: a difference of floats is not exact.

    Raises:
        TypeError: a volume before is none.
    """
    elapsed: list[Elapsed] = [
        each.elapsed if isinstance(each, Previous) else each is FIRST for each in previous
    ]
    before = [each.volume if isinstance(each, Previous) else 0.0 for each in previous]
    change: list[Change] = [
        each if each.__class__ is float else volume - each if volume.__class__ is int else (each,)
        for each, volume in zip(before, volumes, strict=True)
    ]
    try:
        _ENCODER.encode(change)
    except OverflowError:
        change = [
            each if each.__class__ is not int or each in INTEGERS else (was,)
            for each, was in zip(change, before, strict=True)
        ]
    return elapsed, change


def history(
    elapsed: Sequence[Elapsed], change: Sequence[Change], volumes: Sequence[Volume]
) -> list[Previous | History]:
    """Return what `changes` took.

    Raises:
        ValueError: a gain leads out of 64 bits.
    """
    before = [
        volume - gain if gain.__class__ is int
        else gain if gain.__class__ is float
        else gain[0]  # type: ignore[index]
        for gain, volume in zip(change, volumes, strict=True)
    ]  # fmt: skip
    try:
        _ENCODER.encode(before)
    except OverflowError as error:
        raise ValueError("a volume before has more than 64 bits") from error
    found: list[Previous | History] = list(map(Previous, elapsed, before))
    for number, each in enumerate(elapsed):
        if each.__class__ is bool:
            found[number] = FIRST if each else UNTRACKED
    return found
