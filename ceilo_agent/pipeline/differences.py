# SPDX-License-Identifier: Apache-2.0
"""What a test expects against what came out."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import UNSET

from ceilo_agent.definition.tests import Expected
from ceilo_agent.pipeline.volumes import is_volume
from ceilo_agent.sample import Sample

RELATIVE_TOLERANCE: Final = 1e-9
"""Of volumes; times are compared to the millisecond."""

Document = dict[str, Any]
"""A sample under the keys of `Expected`."""

_IDENTITY: Final = ("meter", "resource", "at")
_SHOWN: Final = (*_IDENTITY, "volume", "unit", "type", "sink")
"""Of a sample that nobody expected."""


class Difference(NamedTuple):
    """One sample that is not as expected.

    Attributes:
        expected: what should have come out; None: nothing.
        got: what came out; None: nothing. Where there are both, they hold what tells which sample
            it is, and what differs.
    """

    expected: Document | None
    got: Document | None


def document(sample: Sample, sink: str, start: float) -> Document:
    """Return the form in which a sample is compared and shown; `start` is the clock's zero."""
    meter, resource = sample.meter, sample.resource
    return {
        "meter": meter.name,
        "resource": resource.id,
        "at": round(sample.time - start, 3),
        "volume": sample.volume,
        "unit": meter.unit,
        "type": meter.type.value,
        "sink": sink,
        "project": resource.project_id,
        "user": resource.user_id,
        "metadata": resource.metadata,
        "resource_type": resource.type,
    }


def compare(expected: Iterable[Expected], got: Sequence[Document]) -> list[Difference]:
    """Return every difference, in order of time; each expected sample stands for one that came."""
    wanted = [_written(each) for each in expected]
    among = _Index(got)
    held = _match(
        len(wanted),
        lambda each: (
            n for n in among.candidates(wanted[each]) if not _differs(wanted[each], got[n])
        ),
    )
    taken = set(held.values())
    found = []
    for number, each in enumerate(wanted):
        if number in held:
            continue
        near = [n for n in among.namesakes(each) if n not in taken]
        if near:
            nearest = min(near, key=lambda n: len(_differs(each, got[n])))
            taken.add(nearest)
            found.append(_pair(each, got[nearest]))
        else:
            found.append(Difference(each, None))
    for number, came in enumerate(got):
        if number not in taken:
            found.append(Difference(None, {key: came[key] for key in _SHOWN}))
    return sorted(found, key=_order)


def _written(expected: Expected) -> Document:
    """Return what was written of an expected sample."""
    found = {
        key: value for key, value in msgspec.structs.asdict(expected).items() if value is not UNSET
    }
    if "at" in found:
        found["at"] = round(found["at"], 3)
    if "type" in found:
        found["type"] = found["type"].value
    return found


def _differs(wanted: Mapping[str, Any], came: Mapping[str, Any]) -> list[str]:
    """Return the keys that were written and are not as they were written."""
    return [key for key, value in wanted.items() if not _same(key, value, came[key])]


def _same(key: str, wanted: Any, came: Any) -> bool:
    if key == "volume":
        return is_volume(came) and _close(wanted, came)
    if key == "metadata":
        return all(name in came and came[name] == value for name, value in wanted.items())
    return bool(wanted == came)


def _close(wanted: float, came: float) -> bool:
    try:
        return math.isclose(wanted, came, rel_tol=RELATIVE_TOLERANCE)
    except OverflowError:  # an integer beyond the floats
        return wanted == came


def _pair(wanted: Document, came: Document) -> Difference:
    """Return the difference of two samples that are meant to be the same one."""
    keys = (*_IDENTITY, *_differs(wanted, came))
    shown = {key: came[key] for key in keys}
    if "metadata" in shown:
        wrong = {
            name: value
            for name, value in wanted["metadata"].items()
            if not _same("metadata", {name: value}, came["metadata"])
        }
        shown["metadata"] = {n: came["metadata"][n] for n in wrong if n in came["metadata"]}
        wanted = wanted | {"metadata": wrong}
    return Difference({key: wanted[key] for key in keys}, shown)


def _order(difference: Difference) -> tuple[float, str, str]:
    """Return what differences are sorted by."""
    shown = difference.expected or difference.got or {}
    return shown.get("at", math.inf), shown["meter"], shown.get("resource", "")


class _Index:
    """Finds samples by what tells which one it is."""

    def __init__(self, got: Sequence[Document]) -> None:
        self._by_meter: dict[Any, list[int]] = {}
        self._by_identity: dict[tuple[Any, ...], list[int]] = {}
        for number, came in enumerate(got):
            self._by_meter.setdefault(came["meter"], []).append(number)
            key = tuple(came[name] for name in _IDENTITY)
            self._by_identity.setdefault(key, []).append(number)

    def candidates(self, wanted: Mapping[str, Any]) -> Sequence[int]:
        """Return those that an expected sample may stand for."""
        if "resource" in wanted and "at" in wanted:
            return self.namesakes(wanted)
        return self._by_meter.get(wanted["meter"], ())

    def namesakes(self, wanted: Mapping[str, Any]) -> Sequence[int]:
        """Return those of the same meter, resource and time; none where these are not written."""
        return self._by_identity.get(tuple(wanted.get(name) for name in _IDENTITY), ())


def _match(count: int, candidates: Callable[[int], Iterator[int]]) -> dict[int, int]:
    """Return which of the expected stands for which that came, for as many as can be.

    A maximum matching by augmenting paths: where one that came is taken and whoever took it can
    stand for another, it does.

    Args:
        count: how many are expected, numbered from 0.
        candidates: returns which of those that came an expected one may stand for.
    """
    held: dict[int, int] = {}
    owner: dict[int, int] = {}
    for start in range(count):
        came_by: dict[int, int] = {}
        queue = deque([start])
        free: int | None = None
        while queue and free is None:
            each = queue.popleft()
            for number in candidates(each):
                if number in came_by:
                    continue
                came_by[number] = each
                if number not in owner:
                    free = number
                    break
                queue.append(owner[number])
        while free is not None:
            each = came_by[free]
            before = held.get(each)
            owner[free], held[each] = each, free
            free = before
    return held
