# SPDX-License-Identifier: Apache-2.0
"""The tests of a pipeline file: samples that go in, and those that must come out.

They stand under `tests` in the file, or in a file beside it that holds nothing else:
``pipeline.tests.yaml`` for ``pipeline.yaml``.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ceilo_agent.definition import document
from ceilo_agent.definition.matching import Matcher
from ceilo_agent.definition.meters import read_meters
from ceilo_agent.definition.nodes import MappingNode, Node, Position, ScalarNode, plain
from ceilo_agent.definition.reader import Reader, given
from ceilo_agent.definition.settings import read_settings
from ceilo_agent.errors import ConfigError, Fault, nearest
from ceilo_agent.sample import SampleType, Volume
from ceilo_agent.shown import shown

KEYS: Final = ("name", "source", "given", "until", "meters", "expect")
MOST_TESTS: Final = 1000
MOST_SAMPLES: Final = 10_000
"""Of one test, that go in or that must come out."""
LONGEST_NAME: Final = 200
LATEST: Final = 366 * 86400
"""Seconds on the clock of a test."""

Text = Annotated[str, Meta(min_length=1)]
Moment = Annotated[float, Meta(ge=0, le=LATEST)]

_TEST: Final = "a test (name, given, expect)"


class Given(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be written of a sample that goes in."""

    meter: Annotated[str, Meta(min_length=1, description="The name of the meter.")]
    resource: Annotated[str, Meta(min_length=1, description="The id of the resource.")]
    at: Annotated[
        float, Meta(ge=0, le=LATEST, description="When it is read: seconds on the test's clock.")
    ]
    volume: Annotated[Volume, Meta(description="What is read.")]
    unit: Annotated[
        str | UnsetType, Meta(description="Default: that of the meter catalogue, else none.")
    ] = UNSET
    type: Annotated[
        SampleType | UnsetType,
        Meta(description="Default: that of the meter catalogue, else gauge."),
    ] = UNSET
    project: Annotated[
        Text | UnsetType | None,
        Meta(description="Id of the project. Default: as in the resource's last sample."),
    ] = UNSET
    user: Annotated[
        Text | UnsetType | None,
        Meta(description="Id of the user. Default: as in the resource's last sample."),
    ] = UNSET
    metadata: Annotated[
        dict[str, Any] | UnsetType,
        Meta(description="All metadata. Default: as in the resource's last sample."),
    ] = UNSET
    resource_type: Annotated[
        Text | UnsetType,
        Meta(
            description="Default: as in the resource's last sample, else that of the meter "
            "catalogue, else generic."
        ),
    ] = UNSET
    source: Annotated[
        Text | UnsetType, Meta(description="The source that polls it. Default: the test's.")
    ] = UNSET
    untracked: Annotated[
        bool,
        Meta(description="true: as from a foreign producer, which tells no reading before it."),
    ] = False
    restarted: Annotated[
        bool, Meta(description="true: the counter began anew, so that no reading is before it.")
    ] = False

    def __post_init__(self) -> None:
        if self.untracked and self.restarted:
            raise ValueError("'untracked' and 'restarted' exclude each other")


class Expected(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be written of a sample that must come out; only what is written is compared."""

    meter: Annotated[str, Meta(min_length=1, description="The name of the meter.")]
    resource: Annotated[Text | UnsetType, Meta(description="The id of the resource.")] = UNSET
    at: Annotated[Moment | UnsetType, Meta(description="Its time, on the test's clock.")] = UNSET
    volume: Annotated[
        Volume | UnsetType, Meta(description="Compared with a relative tolerance of 1e-9.")
    ] = UNSET
    unit: Annotated[str | UnsetType, Meta(description="The unit.")] = UNSET
    type: Annotated[SampleType | UnsetType, Meta(description="The type.")] = UNSET
    sink: Annotated[
        Text | UnsetType, Meta(description="The name of the sink that it comes out of.")
    ] = UNSET
    project: Annotated[
        Text | UnsetType | None, Meta(description="Id of the project; null: it has none.")
    ] = UNSET
    user: Annotated[
        Text | UnsetType | None, Meta(description="Id of the user; null: it has none.")
    ] = UNSET
    metadata: Annotated[
        dict[str, Any] | UnsetType,
        Meta(description="These must be there, with these values; others may be there."),
    ] = UNSET
    resource_type: Annotated[Text | UnsetType, Meta(description="The type of the resource.")] = (
        UNSET
    )


class CaseDef(msgspec.Struct, frozen=True):
    """One test.

    Attributes:
        name: unique over the file and the one beside it.
        file: where it stands, as the operator named it.
        position: of the test in that file.
        given: at least one, in the order of the file.
        expect: exactly what must come out.
        lines: of each of `given`.
        source: the source that polls what is given; None: each is matched by its meter.
        until: how far the clock goes after the last sample, seconds.
        meters: patterns of what is compared; empty: all.
    """

    name: str
    file: str
    position: Position
    given: tuple[Given, ...]
    expect: tuple[Expected, ...]
    lines: tuple[int, ...]
    source: str | None = None
    until: float | None = None
    meters: tuple[str, ...] = ()


class _Name(NamedTuple):
    """Where a name was first used."""

    file: str
    line: int


_Item = TypeVar("_Item", Given, Expected)


class Tests:
    """Reads the tests of one pipeline file.

    Args:
        reader: takes the mistakes.
        sources: the names of the file's sources; None when they are not known for a mistake.
        sinks: the names of its sinks; None likewise.
    """

    def __init__(
        self, reader: Reader, sources: Collection[str] | None, sinks: Collection[str] | None
    ) -> None:
        self._reader = reader
        self._sources = sources
        self._sinks = sinks
        self._names: dict[str, _Name] = {}
        self._count = 0

    def read(self, node: Node | None) -> list[CaseDef]:
        """Read the list under `tests`, None when there is none."""
        nodes = None if node is None else self._reader.items(node, "a list of tests")
        found = []
        for each in nodes or ():
            self._count += 1
            if self._count > MOST_TESTS:
                self._reader.fault(each.position, f"more than {MOST_TESTS} tests")
                break
            case = self._case(each)
            if case is not None:
                found.append(case)
        return found

    def beside(self, path: Path) -> list[CaseDef]:
        """Read the tests beside a pipeline file; what is wrong there goes to the same reader."""
        place = path.with_name(f"{path.stem}.tests.yaml")
        if not os.path.exists(place):  # noqa: PTH110 - no error for a name that cannot be
            return []
        main = self._reader
        try:
            found = document.parse(document.read(place).text, str(place))
        except ConfigError as error:
            main.faults.extend(error.faults)
            return []
        if found.root is None:
            main.faults.extend([*found.faults, Fault(str(place), 0, 0, "the file is empty")])
            return []
        self._reader = Reader(str(place), found)
        cases = self._alone(found.root)
        main.faults.extend(self._reader.faults)
        self._reader = main
        return cases

    def _alone(self, root: Node) -> list[CaseDef]:
        """Read a file that holds nothing but tests."""
        top = self._reader.mapping(root, "a mapping with tests")
        if top is None:
            return []
        self._reader.keys(top, ("tests",), ("tests",))
        return self.read(given(top, "tests"))

    def _case(self, node: Node) -> CaseDef | None:
        case = self._reader.mapping(node, _TEST)
        if case is None:
            return None
        self._reader.keys(case, KEYS, ("name", "given", "expect"))
        entries = case.entries
        source = given(case, "source")
        patterns = given(case, "meters")
        meters = [] if patterns is None else read_meters(self._reader, patterns)
        samples = self._given(entries["given"]) if "given" in entries else []
        expected = self._expected(entries["expect"], meters) if "expect" in entries else []
        until = given(case, "until")
        return CaseDef(
            self._name(entries["name"]) if "name" in entries else "",
            self._reader.file,
            case.position,
            tuple(sample for sample, _ in samples),
            tuple(expected),
            tuple(line for _, line in samples),
            None if source is None else self._source(source),
            None if until is None else self._until(until, [sample for sample, _ in samples]),
            tuple(pattern for pattern, _ in meters),
        )

    def _name(self, node: Node) -> str:
        name = self._reader.text(node, "the name of a test")
        if name is None:
            return ""
        if len(name) > LONGEST_NAME or not name.isprintable():
            what = f"a name of at most {LONGEST_NAME} characters that can be printed"
            self._reader.expected(node, what)
        elif name in self._names:
            first = self._names[name]
            where = "" if first.file == self._reader.file else f" of {first.file}"
            hint = f"first in line {first.line}{where}"
            self._reader.fault(node.position, f"duplicate test name '{shown(name)}'", hint)
        else:
            self._names[name] = _Name(self._reader.file, node.position.line)
        return name

    def _source(self, node: Node) -> str | None:
        name = self._reader.text(node, "the name of a source")
        if name is not None:
            self._known("source", name, node.position, self._sources)
        return name

    def _known(self, kind: str, name: str, place: Position, names: Collection[str] | None) -> None:
        """Check the name of a source or sink."""
        if names is not None and name not in names:
            what = f"no {kind} is named '{shown(name)}'"
            self._reader.fault(place, what, nearest(name, sorted(names)))

    def _until(self, node: Node, samples: Sequence[Given]) -> float | None:
        value = node.value if isinstance(node, ScalarNode) else None
        # True is a number to Python.
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not 0 <= value <= LATEST
        ):
            self._reader.expected(node, f"until: a number from 0 to {LATEST}")
            return None
        last = max((sample.at for sample in samples), default=0)
        if value < last:
            what = f"until: {value:.12g} is before the last sample, which is at {last:.12g}"
            self._reader.fault(node.position, what)
        return value

    def _given(self, node: Node) -> list[tuple[Given, int]]:
        """Return the samples that go in, each with its line."""
        found = []
        for sample, written in self._items(node, "given", Given):
            if sample.source is not UNSET:
                place = written.entries["source"].position
                self._known("source", sample.source, place, self._sources)
            found.append((sample, written.position.line))
        if self._reader.is_empty(node):
            self._reader.fault(node.position, "the test gives no sample")
        return found

    def _expected(self, node: Node, meters: Sequence[tuple[str, Position]]) -> list[Expected]:
        found = []
        takes = Matcher(pattern for pattern, _ in meters)
        for sample, written in self._items(node, "expect", Expected):
            if sample.sink is not UNSET:
                self._known("sink", sample.sink, written.entries["sink"].position, self._sinks)
            if meters and not takes(sample.meter):
                what = f"'{shown(sample.meter)}' is not compared: 'meters' leaves it out"
                self._reader.fault(written.entries["meter"].position, what)
            found.append(sample)
        return found

    def _items(self, node: Node, key: str, struct: type[_Item]) -> list[tuple[_Item, MappingNode]]:
        """Return the right ones of a list of samples, with what was written."""
        nodes = self._reader.items(node, f"{key}: a list of samples") or []
        if len(nodes) > MOST_SAMPLES:
            what = f"{key}: more than {MOST_SAMPLES} samples"
            self._reader.fault(nodes[MOST_SAMPLES].position, what)
        found = []
        for each in nodes[:MOST_SAMPLES]:
            written = self._reader.mapping(each, "a sample (meter, resource, at, volume)")
            if written is None:
                continue
            made = self._sample(written, struct)
            if made is not None:
                found.append((made, written))
        return found

    def _sample(self, node: MappingNode, struct: type[_Item]) -> _Item | None:
        """Read one sample: at once where it is right, else value by value to tell what is wrong."""
        try:
            return msgspec.convert(plain(node), struct)
        except msgspec.ValidationError:
            made = read_settings(self._reader, struct, node, "key")
            return made if isinstance(made, struct) else None
