# SPDX-License-Identifier: Apache-2.0
"""What a test expects against what came out."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import UNSET

from ceilo_agent.definition.tests import Expected
from ceilo_agent.sample import Sample
from ceilo_agent.volumes import is_volume

RELATIVE_TOLERANCE: Final = 1e-9
"""Of volumes; times are compared to the millisecond."""

Document = dict[str, Any]
"""A sample under the keys of `Expected`."""

_IDENTITY: Final = ("meter", "resource", "at")
_NEAR: Final = ("volume", "metadata")
"""What may differ and still be the same."""
_SHOWN: Final = (*_IDENTITY, "volume", "unit", "type", "sink")
"""Of a sample that nobody expected."""
_MOST_LIKENED: Final = 200
"""Samples, expected and come, that are compared to find those of which one thing differs."""


class Difference(NamedTuple):
    """One sample that is not as expected.

    Attributes:
        expected: what should have come out; None: nothing.
        got: what came out; None: nothing. Where there are both, they hold what tells which sample
            it is, and what differs.
    """

    expected: Document | None
    got: Document | None

    @property
    def missing(self) -> bool:
        """Whether nothing came of what is expected, or not at its time."""
        if self.expected is None or self.got is None:
            return self.got is None
        return bool(self.expected.get("at", self.got["at"]) != self.got["at"])


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
    found, alone = [], []
    for number, each in enumerate(wanted):
        if number in held:
            continue
        near = [n for n in among.namesakes(each) if n not in taken]
        if near:
            nearest = min(near, key=lambda n: len(_differs(each, got[n])))
            taken.add(nearest)
            found.append(_pair(each, got[nearest]))
        else:
            alone.append(each)
    for each in alone:
        likely = among.of_meter(each) if len(alone) <= _MOST_LIKENED else ()
        near = [n for n in islice(likely, _MOST_LIKENED) if n not in taken]
        like = next((n for n in near if len(_differs(each, got[n])) == 1), None)
        if like is not None:
            taken.add(like)
            found.append(_pair(each, got[like]))
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
        return all(name in came and _equal(value, came[name]) for name, value in wanted.items())
    return bool(wanted == came)


def _equal(wanted: Any, came: Any) -> bool:
    """Return whether two values of metadata are the same; 1 is not true, as in JSON."""
    if isinstance(wanted, Mapping) and isinstance(came, Mapping):
        return wanted.keys() == came.keys() and all(_equal(wanted[k], came[k]) for k in wanted)
    if isinstance(wanted, list) and isinstance(came, list | tuple):
        return len(wanted) == len(came) and all(map(_equal, wanted, came))
    return isinstance(wanted, bool) is isinstance(came, bool) and bool(wanted == came)


def _close(wanted: float, came: float) -> bool:
    try:
        return math.isclose(wanted, came, rel_tol=RELATIVE_TOLERANCE)
    except OverflowError:  # an integer beyond the floats
        return wanted == came


def _pair(wanted: Document, came: Document) -> Difference:
    """Return the difference of two samples that are meant to be the same one."""
    differs = _differs(wanted, came)
    keys = [key for key in came if key in _IDENTITY or key in differs]
    shown = {key: came[key] for key in keys}
    if "metadata" in shown:
        wrong = {
            name: value
            for name, value in wanted["metadata"].items()
            if not _same("metadata", {name: value}, came["metadata"])
        }
        shown["metadata"] = {n: came["metadata"][n] for n in wrong if n in came["metadata"]}
        wanted = wanted | {"metadata": wrong}
    return Difference({key: wanted[key] for key in keys if key in wanted}, shown)


def _order(difference: Difference) -> tuple[float, str, str]:
    """Return what differences are sorted by."""
    shown = difference.expected or difference.got or {}
    return shown.get("at", math.inf), shown["meter"], shown.get("resource", "")


class _Index:
    """Finds samples by what is compared exactly."""

    def __init__(self, got: Sequence[Document]) -> None:
        self._got = got
        self._by: dict[tuple[str, ...], dict[tuple[Any, ...], list[int]]] = {}

    def candidates(self, wanted: Mapping[str, Any]) -> Sequence[int]:
        """Return those that an expected sample may stand for."""
        return self._with(wanted, tuple(key for key in wanted if key not in _NEAR))

    def namesakes(self, wanted: Mapping[str, Any]) -> Sequence[int]:
        """Return those of the same meter, resource and time; none where these are not written."""
        return self._with(wanted, _IDENTITY) if wanted.keys() >= set(_IDENTITY) else ()

    def of_meter(self, wanted: Mapping[str, Any]) -> Sequence[int]:
        """Return those of the same meter."""
        return self._with(wanted, ("meter",))

    def _with(self, wanted: Mapping[str, Any], keys: tuple[str, ...]) -> Sequence[int]:
        if keys not in self._by:
            found = self._by[keys] = {}
            for number, came in enumerate(self._got):
                found.setdefault(tuple(came[key] for key in keys), []).append(number)
        return self._by[keys].get(tuple(wanted[key] for key in keys), ())


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
