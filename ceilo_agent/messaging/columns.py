# SPDX-License-Identifier: Apache-2.0
"""Columns of samples: what they share, by index, and what they gained since their last readings."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from typing import Final, NamedTuple, TypeVar

from ceilo_agent.sample import FIRST, UNTRACKED, History, Previous, Sample, Volume

Shared = TypeVar("Shared", bound=Hashable)

INTEGERS: Final = range(-(2**63), 2**64)
"""What MessagePack can hold."""


class Changes(NamedTuple):
    """What is known of the readings before, in columns.

    Attributes:
        elapsed: seconds since then; true: there is none before; false: that is not known.
        change: the gain since then if `relative`, else the volume then; 0 without a reading.
        relative: whether gains stand there. They are integers, mostly small ones.
    """

    elapsed: list[float | bool]
    change: list[Volume]
    relative: bool


def table(items: Sequence[Shared]) -> tuple[list[Shared], list[int]]:
    """Return each item once, and the index of each in that."""
    found = list(dict.fromkeys(items))
    numbers = dict(zip(found, range(len(found)), strict=True))
    return found, list(map(numbers.__getitem__, items))


def changes(samples: Sequence[Sample]) -> Changes:
    """Return the readings before.

    A float stands as it was: a difference of floats is not exact. Should a volume be a float where
    it was an integer before, or a gain have more bits than fit, all stand as they were.
    """
    elapsed: list[float | bool] = []
    change: list[Volume] = []
    for sample in samples:
        previous = sample.previous
        if previous.__class__ is Previous:
            assert isinstance(previous, Previous)
            elapsed.append(previous.elapsed)
            before = previous.volume
            if before.__class__ is int:
                gain = sample.volume - before
                if gain.__class__ is not int or gain not in INTEGERS:
                    return _absolute(samples)
                change.append(gain)
            else:
                change.append(before)
        else:
            elapsed.append(previous is FIRST)
            change.append(0)
    return Changes(elapsed, change, True)


def _absolute(samples: Sequence[Sample]) -> Changes:
    found = [sample.previous for sample in samples]
    return Changes(
        [each.elapsed if isinstance(each, Previous) else each is FIRST for each in found],
        [each.volume if isinstance(each, Previous) else 0 for each in found],
        False,
    )


def history(columns: Changes, volumes: Sequence[Volume]) -> Iterator[Previous | History]:
    """Return what `changes` took.

    Raises:
        ValueError: no such readings can have been.
    """
    elapsed, change, relative = columns
    # A flag is no number of seconds, though Python takes it for 0 or 1.
    seconds = [each for each in elapsed if each.__class__ is float]
    if seconds and not (min(seconds) > 0 and math.isfinite(math.fsum(seconds))):
        raise ValueError("the seconds since a reading before must be above 0")
    if relative:
        change = [
            volume - gain if gain.__class__ is int else gain
            for volume, gain in zip(volumes, change, strict=True)
        ]
        whole = [each for each in change if each.__class__ is int]
        if whole and not (min(whole) in INTEGERS and max(whole) in INTEGERS):
            raise ValueError("the volume before has more than 64 bits")
    return (
        Previous(each, before) if each.__class__ is float else (FIRST if each else UNTRACKED)
        for each, before in zip(elapsed, change, strict=True)
    )
