# SPDX-License-Identifier: Apache-2.0
"""Archive policies: how fine and how long Gnocchi keeps what it was given."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from ceilo_agent.definition.nodes import MappingNode, Node, Position, ScalarNode, describe, plain
from ceilo_agent.definition.reader import Reader, given
from ceilo_agent.errors import nearest
from ceilo_agent.shown import shown

_OF_ONE: Final = ("mean", "sum", "last", "max", "min", "std", "median", "first", "count")
_PLAIN: Final = (*_OF_ONE, *(f"{number}pct" for number in range(1, 100)))
METHODS: Final = frozenset((*_PLAIN, *(f"rate:{name}" for name in _PLAIN)))
"""What Gnocchi 4 can aggregate by (gnocchi.archive_policy.VALID_AGGREGATION_METHODS)."""

_NUMBER: Final = r"(\d+(?:\.\d*)?|\.\d+)\s*"
_WORDS: Final = re.compile(
    rf"\s*(?:{_NUMBER}w(?:k|ks|eek|eeks)?\s*[,/]?\s*)?"
    rf"(?:{_NUMBER}d(?:y|ys|ay|ays)?\s*[,/]?\s*)?"
    rf"(?:{_NUMBER}h(?:r|rs|our|ours)?\s*[,/]?\s*)?"
    rf"(?:{_NUMBER}m(?:in|ins|inute|inutes)?\s*[,/]?\s*)?"
    rf"(?:{_NUMBER}s(?:ec|ecs|econd|econds)?)?\s*",
    re.IGNORECASE,
)
_CLOCK: Final = re.compile(
    rf"\s*(?:{_NUMBER}w(?:k|ks|eek|eeks)?\s*[,/]?\s*)?(?:{_NUMBER}d(?:y|ys|ay|ays)?\s*[,/]?\s*)?"
    r"(?:(?:(?:(\d+)[:-])?(\d+):)?(\d+))?:(\d+(?:\.\d+)?)\s*",
    re.IGNORECASE,
)
_SECONDS: Final = (604800, 86400, 3600, 60, 1)


def seconds(span: object) -> float | None:
    """Return the seconds of a timespan as Gnocchi reads and shows it; None if it is none.

    Such are ``300``, ``5 minutes``, ``1h 30m``, ``1 day, 0:05:00``.
    """
    if isinstance(span, bool) or not isinstance(span, str | int | float):
        return None
    try:
        found = float(span)
    except ValueError:
        found = _written(str(span))
    return found if 0 < found < float("inf") else None


def _written(text: str) -> float:
    """Return the seconds of a text, 0 if it is no timespan."""
    if match := _WORDS.fullmatch(text):
        parts = zip(match.groups(), _SECONDS, strict=True)
        return sum(float(number) * unit for number, unit in parts if number)
    if match := _CLOCK.fullmatch(text):
        weeks, days, clock_days, hours, minutes, rest = match.groups()
        parts = zip((weeks, days or clock_days, hours, minutes, rest), _SECONDS, strict=True)
        return sum(float(number) * unit for number, unit in parts if number)
    return 0.0


class Span(NamedTuple):
    """One row of an archive policy: a point for each `granularity`, kept for `timespan` seconds.

    A timespan of None is for ever.
    """

    granularity: float
    timespan: float | None


class ArchivePolicy(msgspec.Struct, frozen=True):
    """One archive policy.

    Attributes:
        name: as in Gnocchi.
        spans: at least one, the finest first.
        methods: what it aggregates by; None: as Gnocchi does by default.
        back_window: blocks of the coarsest granularity before the newest in which points are taken.
        body: what Gnocchi is sent to create it.
    """

    name: str
    spans: tuple[Span, ...]
    methods: tuple[str, ...] | None
    back_window: int
    body: Mapping[str, Any]

    def differences(self, there: Mapping[str, Any]) -> list[str]:
        """Say in what Gnocchi's policy of this name is another.

        Args:
            there: as Gnocchi shows it.
        """
        said = []
        kept = sorted(
            Span(seconds(each["granularity"]) or 0, seconds(each.get("timespan")))
            for each in there["definition"]
        )
        if kept != list(self.spans):
            said.append(f"keeps {_told(kept)} and not {_told(self.spans)}")
        # With '+', '-' and '*' the methods follow from Gnocchi's own options.
        if self.methods is not None and METHODS.issuperset(self.methods):
            has = set(there["aggregation_methods"])
            if lacks := sorted(set(self.methods) - has):
                said.append(f"does not aggregate by {', '.join(lacks)}")
            if more := sorted(has - set(self.methods)):
                said.append(f"aggregates by {', '.join(more)} besides")
        if there["back_window"] != self.back_window:
            said.append(f"has a back_window of {there['back_window']}, not {self.back_window}")
        return said


def _told(spans: Any) -> str:
    return ", ".join(
        f"{span.granularity:g} s for {'ever' if span.timespan is None else _days(span.timespan)}"
        for span in spans
    )


def _days(span: float) -> str:
    return f"{span / 86400:g} days" if span >= 2 * 86400 else f"{span:g} s"


# -- what stands in the file -----------------------------------------------------------------------

_KEYS: Final = ("name", "definition", "aggregation_methods", "back_window")
_ROW: Final = ("granularity", "timespan", "points")


def read_policies(reader: Reader, node: Node) -> dict[str, ArchivePolicy]:
    """Return the archive policies of a list by name; mistakes go to the reader."""
    found: dict[str, ArchivePolicy] = {}
    places: dict[str, Position] = {}
    for item in reader.items(node, "a list of archive policies") or ():
        mapping = reader.mapping(item, "an archive policy")
        policy = None if mapping is None else _policy(reader, mapping)
        if policy is None:
            continue
        if policy.name in places:
            what = f"duplicate archive policy '{shown(policy.name)}'"
            reader.fault(item.position, what, f"first in line {places[policy.name].line}")
        places.setdefault(policy.name, item.position)
        found[policy.name] = policy
    return found


def _policy(reader: Reader, node: MappingNode) -> ArchivePolicy | None:
    reader.keys(node, _KEYS, required=("name", "definition"))
    if "name" not in node.entries or "definition" not in node.entries:
        return None
    name = reader.text(node.entries["name"], "the name of an archive policy")
    spans = _spans(reader, node.entries["definition"])
    back_window, methods = 0, None
    if (window := given(node, "back_window")) is not None:
        number = _whole(window)
        if number is None or number < 0:
            reader.expected(window, "back_window: a whole number of at least 0")
        back_window = number or 0
    if (listed := given(node, "aggregation_methods")) is not None:
        methods = _methods(reader, listed)
    if name is None or not spans:
        return None
    said = {key: given(node, key) for key in node.entries}
    body = {key: plain(value) for key, value in said.items() if value is not None}
    return ArchivePolicy(name, tuple(sorted(spans)), methods, back_window, body)


def _methods(reader: Reader, node: Node) -> tuple[str, ...]:
    texts = reader.texts(node, "aggregation_methods: a list", "an aggregation method") or ()
    for text, place in texts:
        if text != "*" and text.removeprefix(text[:1] if text[0] in "+-" else "") not in METHODS:
            what = f"Gnocchi has no aggregation method '{shown(text)}'"
            reader.fault(place, what, nearest(text, METHODS))
    return tuple(text for text, _ in texts)


def _spans(reader: Reader, node: Node) -> list[Span]:
    found: dict[float, Position] = {}
    spans = []
    items = reader.items(node, "definition: a list of granularities and timespans") or ()
    if reader.is_empty(node):
        reader.fault(node.position, "definition: no granularity is listed")
    for item in items:
        row = reader.mapping(item, "a granularity and a timespan")
        span = None if row is None else _span(reader, row)
        if span is None:
            continue
        if span.granularity in found:
            what = f"the granularity {span.granularity:g} s stands twice"
            reader.fault(item.position, what, f"first in line {found[span.granularity].line}")
        found.setdefault(span.granularity, item.position)
        spans.append(span)
    return spans


def _span(reader: Reader, row: MappingNode) -> Span | None:
    reader.keys(row, _ROW)
    granularity, timespan = (_timespan(reader, row, key) for key in _ROW[:2])
    points = given(row, "points")
    count = None if points is None else _whole(points)
    if points is not None and (count is None or count < 1):
        reader.expected(points, "points: a whole number of at least 1")
        return None
    if granularity is None and timespan is not None and count:
        granularity = timespan / count
    if granularity is None:
        if given(row, "granularity") is None and not row.keys.keys() - set(_ROW):
            hint = "granularity, or timespan and points"
            reader.fault(row.position, "how fine it is does not follow from this", hint)
        return None
    if count is not None:
        if timespan is not None and timespan != granularity * count:
            reader.fault(row.position, "timespan is not granularity times points")
        return Span(granularity, granularity * count)
    if timespan is None:
        return Span(granularity, None)
    if timespan < granularity:
        reader.fault(row.position, "the timespan is shorter than the granularity")
    return Span(granularity, timespan // granularity * granularity)


def _timespan(reader: Reader, row: MappingNode, key: str) -> float | None:
    node = given(row, key)
    if node is None:
        return None
    found = seconds(node.value) if isinstance(node, ScalarNode) else None
    if found is None:
        what = f"{key}: a timespan was expected, found {describe(node)}"
        reader.fault(node.position, what, "such as 300, 5 minutes or 30 days")
    return found


def _whole(node: Node) -> int | None:
    value = node.value if isinstance(node, ScalarNode) else None
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
