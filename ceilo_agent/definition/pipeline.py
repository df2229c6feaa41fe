# SPDX-License-Identifier: Apache-2.0
"""pipeline.yaml: which meters are polled when, what becomes of the samples and where they go.

The file has the shape of Ceilometer's of the Mitaka release: `sources` and `sinks`, here with
optional `publishers` and `tests` beside them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from ceilo_agent.definition import document
from ceilo_agent.definition.meters import unknown
from ceilo_agent.definition.nodes import MappingNode, Node, plain, shown
from ceilo_agent.definition.publishers import PublisherDef, Publishers
from ceilo_agent.definition.reader import Reader, given
from ceilo_agent.definition.sinks import SinkDef, Sinks, TransformerDef
from ceilo_agent.definition.sources import SourceDef, Sources
from ceilo_agent.errors import ConfigError, Fault

__all__ = [
    "PipelineFile",
    "PublisherDef",
    "SinkDef",
    "SourceDef",
    "TransformerDef",
    "load",
    "unknown_meters",
]

KEYS: Final = ("sources", "sinks", "publishers", "tests")


class PipelineFile(msgspec.Struct, frozen=True):
    """A file without a mistake.

    Attributes:
        path: where it was read.
        sources: at least one.
        sinks: at least one.
        publishers: those that the file gives a name, by name.
        tests: as written.
        warnings: what works but should not stay.
        digest: SHA-256 of its bytes, in hexadecimal.
    """

    path: Path
    sources: tuple[SourceDef, ...]
    sinks: tuple[SinkDef, ...]
    publishers: Mapping[str, PublisherDef]
    tests: tuple[Any, ...]
    warnings: tuple[Fault, ...]
    digest: str


def load(path: Path) -> PipelineFile:
    """Read and check a pipeline file.

    Raises:
        ConfigError: every mistake in it.
    """
    content = document.read(path)
    found = document.parse(content.text, str(path))
    if found.root is None:
        missing = "both sources and sinks are required"
        raise ConfigError([*found.faults, Fault(str(path), 0, 0, "the file is empty", missing)])
    reader = Reader(str(path), found)
    made = _read(reader, found.root, path, content.digest)
    if reader.faults or made is None:
        raise ConfigError(reader.faults)
    return made


def unknown_meters(file: PipelineFile, known: Collection[str]) -> list[Fault]:
    """Return a fault for each pattern that matches none of the known meters."""
    faults = []
    for source in file.sources:
        for index, hint in unknown(source.meters, known):
            pattern, place = source.meters[index], source.meter_positions[index]
            verb = "matches" if "*" in pattern else "is named"
            what = f"no meter {verb} '{shown(pattern)}'"
            faults.append(Fault(str(file.path), *place, what, hint))
    return sorted(faults)


def _read(reader: Reader, root: Node, path: Path, digest: str) -> PipelineFile | None:
    """Return what the file says; only of use when the reader found no mistake."""
    top = reader.mapping(root, "a mapping with sources and sinks")
    if top is None:
        return None
    _require_both(reader, top, reader.unknown(top, KEYS, {}))
    publishers = Publishers(reader)
    if (node := given(top, "publishers")) is not None:
        publishers.define(node)
    sinks = Sinks(reader, publishers)
    made_sinks = [sinks.read(node) for node in _section(reader, top, "sinks")]
    # With a nameless sink one cannot tell which names dangle.
    complete = made_sinks and all(sink is not None and sink.name for sink in made_sinks)
    sources = Sources(reader, frozenset(sinks.names) if complete else None)
    made_sources = [sources.read(node) for node in _section(reader, top, "sources")]
    tests = given(top, "tests")
    raw = None if tests is None else reader.items(tests, "a list of tests")
    if tests is not None and raw:
        reader.warn(tests.position, "no command runs these tests")
    if made_sources and not any(source and source.interval for source in made_sources):
        reader.warn(top.keys["sources"], "no source has an interval: nothing is polled")
    for name, place in sinks.names.items():
        if name not in sources.fed:
            reader.warn(place, f"no source feeds the sink '{shown(name)}'")
    for name, place in publishers.places.items():
        if name not in sinks.published:
            reader.warn(place, f"no sink uses the publisher '{shown(name)}'")
    return PipelineFile(
        path,
        tuple(source for source in made_sources if source is not None),
        tuple(sink for sink in made_sinks if sink is not None),
        {name: made for name, made in publishers.named.items() if made is not None},
        tuple(map(plain, raw or ())),
        tuple(sorted(reader.warnings)),
        digest,
    )


def _require_both(reader: Reader, top: MappingNode, hints: Sequence[str]) -> None:
    for key in reader.missing(top, ("sources", "sinks"), hints):
        hint = ""
        if key == "sinks" and "sources" in top.keys:
            hint = (
                "for a polling.yaml of Ceilometer: add the sinks of its pipeline.yaml, "
                "and 'sinks: [NAME]' to each source"
            )
        what = f"'{key}:' is missing: both sources and sinks are required"
        reader.fault(top.position, what, hint)


def _section(reader: Reader, top: MappingNode, key: str) -> list[Node]:
    if key not in top.entries:
        return []
    nodes = reader.items(top.entries[key], f"a list of {key}")
    if nodes is not None and not nodes:
        what = f"'{key}:' is empty: both sources and sinks are required"
        reader.fault(top.entries[key].position, what)
    return nodes or []
