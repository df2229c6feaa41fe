# SPDX-License-Identifier: Apache-2.0
"""How the volumes of a window become one.

Nothing here depends on the order in which they came.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, Literal

from ceilo_agent.sample import SampleType, Volume

Method = Literal["mean", "sum", "min", "max", "count", "last"]


def total(volumes: Collection[Volume]) -> Volume:
    """Add volumes up, exactly.

    Raises:
        OverflowError: the sum is beyond what a float can hold.
    """
    if all(isinstance(volume, int) for volume in volumes):
        return sum(volumes)
    return math.fsum(volumes)


def mean(volumes: Collection[Volume]) -> Volume:
    """Return the mean of at least one volume; of one alone, the volume itself.

    Raises:
        OverflowError: as `total`.
    """
    return total(volumes) / len(volumes) if len(volumes) > 1 else next(iter(volumes))


_METHODS: Final[Mapping[Method, Callable[[Sequence[Volume]], Volume]]] = {
    "mean": mean,
    "sum": total,
    "min": min,
    "max": max,
    "count": len,
    "last": lambda volumes: volumes[-1],
}

BY_TYPE: Final[Mapping[SampleType, Method]] = {
    SampleType.GAUGE: "mean",
    SampleType.CUMULATIVE: "last",
    SampleType.DELTA: "sum",
}
"""How the readings of one series become one: Ceilometer's rule."""


def merge(
    volumes: Mapping[tuple[str, float], Volume],
    type_: SampleType,
    method: Method | None,
    spans: bool,
) -> Volume:
    """Return the one volume of a window.

    Args:
        volumes: by resource and time; at least one.
        type_: of the meter.
        method: None: by the type.
        spans: whether several resources are one group: then the readings of each become one by the
            type, and `method` is for those.

    Raises:
        OverflowError: the result is beyond what a float can hold.
    """
    ordered = sorted(volumes, key=_by_time)
    if not spans:
        return _METHODS[method or BY_TYPE[type_]]([volumes[slot] for slot in ordered])
    series: dict[str, list[Volume]] = {}
    for slot in ordered:
        # The series with the latest reading comes last.
        readings = series.pop(slot[0], [])
        readings.append(volumes[slot])
        series[slot[0]] = readings
    of_one = _METHODS[BY_TYPE[type_]]
    return _METHODS[method or "sum"]([of_one(readings) for readings in series.values()])


def merged_type(type_: SampleType, method: Method | None, spans: bool) -> SampleType:
    """Return the type of what `merge` makes.

    A sum of counters falls when one of them goes away: it is no counter.
    """
    method = method or ("sum" if spans else BY_TYPE[type_])
    if type_ is SampleType.DELTA and method == "sum":
        return type_
    if type_ is SampleType.CUMULATIVE and not spans and method in ("last", "max"):
        return type_
    return SampleType.GAUGE


def _by_time(slot: tuple[str, float]) -> tuple[float, str]:
    return slot[1], slot[0]
