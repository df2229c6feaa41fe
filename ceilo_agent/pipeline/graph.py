# SPDX-License-Identifier: Apache-2.0
"""A pipeline file as nodes and edges: what the terminal, Mermaid and a web page draw."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from ceilo_agent.definition.matching import Matcher
from ceilo_agent.definition.pipeline import (
    PipelineFile,
    PublisherDef,
    Role,
    SinkDef,
    SourceDef,
    TransformerDef,
)
from ceilo_agent.definition.reader import Subject
from ceilo_agent.errors import Fault
from ceilo_agent.pipeline.checking import Report, taken
from ceilo_agent.shown import shown

_TELLING: Final = (
    "expr", "name", "group_by", "metadata", "scale", "unit", "method", "size", "retention_time",
    "growth_only",
)  # fmt: skip
"""Parameters that tell one step from another of the same transformer."""


class Kind(enum.StrEnum):
    """What a node is."""

    SOURCE = "source"
    SINK = "sink"
    STEP = "step"
    PUBLISHER = "publisher"


class Node(msgspec.Struct, frozen=True):
    """One thing of the file.

    Attributes:
        id: unique in the graph: letters, digits and ``_``, nothing of the operator's.
        kind: what it is.
        name: of the source, sink or publisher; for a step, of the transformer; for a publisher
            without a name, its URL.
        details: what else there is to say of it, a few words each; holds no secret.
        warnings: indexes into the graph's.
    """

    id: str
    kind: Kind
    name: str
    details: tuple[str, ...] = ()
    warnings: tuple[int, ...] = ()


class Edge(msgspec.Struct, frozen=True):
    """Samples go from one node to another; both are ids."""

    start: str
    end: str


class Graph(msgspec.Struct, frozen=True):
    """Sources, sinks with their steps behind them, publishers; each once.

    Attributes:
        nodes: sources, then each sink with its steps, then publishers, each in the file's order.
        edges: source to sink, sink to first step, step to step, last step to publishers.
        warnings: all of them, those that are about no node, too.
    """

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    warnings: tuple[Fault, ...]

    def of(self, kind: Kind) -> list[Node]:
        """Return the nodes of a kind."""
        return [node for node in self.nodes if node.kind is kind]

    def after(self, node: str) -> list[str]:
        """Return the ids that a node's samples go to."""
        return [edge.end for edge in self.edges if edge.start == node]


def draw(report: Report, polling: Report | None = None) -> Graph:
    """Return the graph of a file.

    Args:
        report: what was found in the file, without a fault.
        polling: the same of the file that says what is polled, where that is another.
    """
    return _Drawing(report, polling).graph()


class _Drawing:
    def __init__(self, report: Report, polling: Report | None) -> None:
        assert report.file is not None
        self._file = report.file
        self._sources = self._file.sources
        self._warned = [*report.warnings]
        self._subjects = {**report.subjects}
        if polling is not None and polling.file is not None:
            self._sources = polling.file.sources
            self._warned = [*polling.warnings, *report.warnings]
            self._subjects |= polling.subjects
        self._polls = polling is not None or self._file.role is not Role.NOTIFICATION
        self._publishers = _publishers(self._file)
        self._ids = {
            **{("source", s.name): f"source{n}" for n, s in enumerate(self._sources, 1)},
            **{("sink", s.name): f"sink{n}" for n, s in enumerate(self._file.sinks, 1)},
            **{("publisher", p.name): f"publisher{n}" for n, p in enumerate(self._publishers, 1)},
        }

    def graph(self) -> Graph:
        nodes = [
            *map(self._source, self._sources),
            *(node for sink in self._file.sinks for node in self._sink(sink)),
            *map(self._publisher, self._publishers),
        ]
        return Graph(tuple(nodes), tuple(self._edges()), tuple(self._warned))

    def _node(self, kind: Kind, name: str, details: Sequence[str]) -> Node:
        subject = (kind.value, name)
        return Node(self._ids[subject], kind, name, tuple(details), self._warnings(subject))

    def _warnings(self, subject: Subject) -> tuple[int, ...]:
        about = self._subjects
        return tuple(index for index, each in enumerate(self._warned) if about.get(each) == subject)

    def _source(self, source: SourceDef) -> Node:
        count = len(taken(source))
        details = [f"{count} meter{'' if count == 1 else 's'}"]
        if self._polls:
            polled = "not polled" if source.interval is None else f"every {source.interval} s"
            details.insert(0, polled)
        return self._node(Kind.SOURCE, source.name, details)

    def _sinks_of(self, source: SourceDef) -> Iterator[str]:
        """Yield where samples of a source go: by its name in the file of the sinks, or by meter."""
        by_name = {each.name: each.sinks for each in self._file.sources}
        if source.name in by_name:
            yield from by_name[source.name]
            return
        names = [meter.name for meter in taken(source)]
        yield from dict.fromkeys(
            sink
            for each in self._file.sources
            if any(map(Matcher(each.meters), names))
            for sink in each.sinks
        )

    def _sink(self, sink: SinkDef) -> Iterator[Node]:
        node = self._node(Kind.SINK, sink.name, ())
        yield node
        for number, step in enumerate(sink.transformers, 1):
            warnings = self._warnings(("step", f"{sink.name}/{number}"))
            yield Node(
                f"{node.id}_step{number}", Kind.STEP, step.name, tuple(_details(step)), warnings
            )

    def _publisher(self, publisher: PublisherDef) -> Node:
        url = f"{publisher.scheme}://{publisher.url.place}"
        node = self._node(Kind.PUBLISHER, publisher.name, [url])
        if publisher.name in self._file.publishers:
            return node
        return msgspec.structs.replace(node, name=url, details=())

    def _edges(self) -> Iterator[Edge]:
        for source in self._sources:
            for sink in self._sinks_of(source):
                if ("sink", sink) in self._ids:
                    yield Edge(self._ids["source", source.name], self._ids["sink", sink])
        for each in self._file.sinks:
            last = start = self._ids["sink", each.name]
            for number in range(1, len(each.transformers) + 1):
                yield Edge(last, last := f"{start}_step{number}")
            for publisher in each.publishers:
                yield Edge(last, self._ids["publisher", publisher.name])


def _details(step: TransformerDef) -> Iterator[str]:
    if makes := next(_makes(step.written), ""):
        yield shown(makes)
    if step.meters:
        yield f"meters: {', '.join(map(shown, step.meters))}"
    if step.keep_original:
        yield "keeps the original"


def _makes(written: Mapping[str, Any]) -> Iterator[str]:
    """Yield what parameters say of what comes out, the most telling first.

    The shape is that of the shipped transformers. Other parameters may hold a secret.
    """
    source, target = _inside(written, "source"), _inside(written, "target")
    if name := target.get("name"):
        yield f"makes {name}"
    for before, after in (
        (written.get("map_from"), written.get("map_to")),
        (_inside(source, "map_from").get("name"), _inside(target, "map_to").get("name")),
    ):
        if isinstance(before, str) and isinstance(after, str):
            yield f"name: {before} -> {after}"
    for mapping in (written, target):
        for key in _TELLING:
            value = mapping.get(key)
            if isinstance(value, dict | list) and value:
                yield f"{key}: {', '.join(map(str, value))}"
            elif value not in (None, "", [], {}):
                yield f"{key}: {value}"


def _inside(written: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = written.get(key)
    return found if isinstance(found, Mapping) else {}


def _publishers(file: PipelineFile) -> list[PublisherDef]:
    """Return every publisher once: those that sinks use, then named ones that none uses."""
    found = {p.name: p for sink in file.sinks for p in sink.publishers}
    return [*{**found, **{p.name: p for p in file.publishers.values()}}.values()]
