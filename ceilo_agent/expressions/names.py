# SPDX-License-Identifier: Apache-2.0
"""What expressions read: the fields of a sample, the metadata of its resource."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from itertools import takewhile
from operator import attrgetter
from typing import Any, Final, NamedTuple

from ceilo_agent.errors import Malformed, nearest
from ceilo_agent.expressions.arithmetic import FUNCTIONS
from ceilo_agent.expressions.terms import ANYTHING, Evaluate, Kind, Term
from ceilo_agent.sample import SampleType
from ceilo_agent.shown import shown

VOLUME: Final = "volume"
METADATA: Final = "resource_metadata"

_FIELDS: Final[dict[str, tuple[Kind, Evaluate]]] = {
    VOLUME: (Kind.NUMBER, lambda _s, v: v),
    "name": (Kind.TEXT, lambda s, _v: s.meter.name),
    "unit": (Kind.TEXT, lambda s, _v: s.meter.unit),
    "type": (Kind.TEXT, lambda s, _v: s.meter.type),
    "resource_id": (Kind.TEXT, lambda s, _v: s.resource.id),
    "project_id": (Kind.TEXT | Kind.NOTHING, lambda s, _v: s.resource.project_id),
    "user_id": (Kind.TEXT | Kind.NOTHING, lambda s, _v: s.resource.user_id),
    "source": (Kind.TEXT | Kind.NOTHING, lambda s, _v: s.source),
}

NAMES: Final = (*_FIELDS, METADATA)


class Part(NamedTuple):
    """What follows a name: ``.x`` or ``["x"]``, and the offset of the x."""

    key: str
    offset: int
    is_attribute: bool


class Names(ABC):
    """The names that one sort of expression may read.

    Attributes:
        read: those that were read so far.
    """

    def __init__(self) -> None:
        self.read: set[str] = set()

    @abstractmethod
    def term(self, name: str, offset: int, parts: Sequence[Part]) -> Term:
        """Return the term of a name with what follows it.

        Raises:
            Malformed: there is no such name, or no such part of it.
        """


class SampleNames(Names):
    """Those of one sample."""

    def term(self, name: str, offset: int, parts: Sequence[Part]) -> Term:
        """Return the term of a field, or of metadata."""
        if name not in NAMES:
            valid = (*NAMES, *FUNCTIONS)
            if (parts or "_" in name) and not nearest(name, valid):
                hint = f"{METADATA}.{shown(dotted(name, parts))} reads metadata"
                raise Malformed(f"unknown name '{shown(name)}'", offset, hint)
            raise _unknown(name, offset, valid, "; a text stands in quotes")
        self.read.add(name)
        if name == METADATA:
            return _metadata(offset, parts)
        if parts:
            raise no_part(f"'{name}'", parts[0], METADATA)
        kinds, evaluate = _FIELDS[name]
        among = tuple(SampleType) if name == "type" else ()
        return Term(evaluate, kinds, offset, among=among, is_volume=name == VOLUME)


class MeterNames(Names):
    """Those of the samples of several meters.

    Args:
        meters: the names of the meters by the offset of their ``$(name)``.
    """

    def __init__(self, meters: Mapping[int, str]) -> None:
        super().__init__()
        self._meters = meters

    def term(self, name: str, offset: int, parts: Sequence[Part]) -> Term:
        """Return the term of a meter's volume, or of its sample's metadata."""
        meter = self._meters.get(offset)
        if meter is None or name != f"$({meter})":
            raise self._no_meter(name, offset, parts)
        if not parts:
            self.read.add(VOLUME)
            return Term(lambda samples, _v: samples[meter].volume, Kind.NUMBER, offset)
        head, *rest = parts
        if head.key != METADATA or not head.is_attribute:
            raise no_part(f"'{shown(name)}'", head, f"$(name).{METADATA}")
        self.read.add(METADATA)
        evaluate = _metadata(offset, rest).evaluate
        return Term(lambda samples, _v: evaluate(samples[meter], None), ANYTHING, offset)

    def _no_meter(self, name: str, offset: int, parts: Sequence[Part]) -> Malformed:
        if name in NAMES:
            meter = next(iter(self._meters.values()))
            hint = f"write $({meter})" + ("" if name == VOLUME else f".{METADATA}.NAME")
            return Malformed(f"'{name}' belongs to no meter here", offset, hint)
        if name in self._meters.values() or (parts and name not in FUNCTIONS):
            name = dotted(name, parts)
            return Malformed(f"unknown name '{shown(name)}'", offset, f"write $({shown(name)})")
        hint = nearest(name, FUNCTIONS)
        if not hint and name[0].isalpha() and name.isidentifier():
            hint = f"write $({shown(name)})"
        if hint:
            return Malformed(f"unknown name '{shown(name)}'", offset, hint)
        return _unknown(name, offset, FUNCTIONS)


def dotted(name: str, parts: Sequence[Part]) -> str:
    """Return a name with the names after it, up to the first in brackets."""
    return ".".join((name, *(part.key for part in takewhile(attrgetter("is_attribute"), parts))))


def no_part(what: str, part: Part, whole: str) -> Malformed:
    """Return the fault of a part that something does not have; `whole` is what has parts."""
    hint = nearest(part.key, [METADATA]) if what.startswith("'$") else ""
    what = f"{what} has no part '{shown(part.key)}'"
    return Malformed(what, part.offset, hint or f"only {whole} has parts")


def _unknown(name: str, offset: int, valid: Sequence[str], more: str = "") -> Malformed:
    hint = nearest(name, valid) or f"there are {', '.join(valid)}{more}"
    return Malformed(f"unknown name '{shown(name)}'", offset, hint)


def _metadata(offset: int, parts: Sequence[Part]) -> Term:
    if not parts:
        raise Malformed(f"one entry of {METADATA} was expected", offset, f"write {METADATA}.NAME")
    for part in parts:
        if part.is_attribute and part.key.startswith("__"):
            what = f"'{shown(part.key)}' is no name of metadata"
            raise Malformed(what, part.offset, f'write {METADATA}["NAME"] for any name')
    key, *deeper = (part.key for part in parts)
    if not deeper:
        return Term(lambda s, _v: s.resource.metadata.get(key), ANYTHING, offset, key=key)
    return Term(_deep(key, deeper), ANYTHING, offset)


def _deep(first: str, rest: Sequence[str]) -> Evaluate:
    """Return what reads an entry of an entry; None where one of them is missing."""

    def evaluate(s: Any, _v: Any) -> Any:
        value = s.resource.metadata.get(first)
        for key in rest:
            if type(value) is not dict and not isinstance(value, Mapping):
                return None
            value = value.get(key)
        return value

    return evaluate
