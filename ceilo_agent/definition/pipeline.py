# SPDX-License-Identifier: Apache-2.0
"""pipeline.yaml: which meters are polled when, what becomes of the samples and where they go.

The file has the shape of Ceilometer's of the Mitaka release: `sources` and `sinks`, here with
optional `publishers` and `tests` beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from ceilo_agent.definition import document
from ceilo_agent.definition.meters import unknown
from ceilo_agent.definition.nodes import MappingNode, Node
from ceilo_agent.definition.publishers import PublisherDef, Publishers
from ceilo_agent.definition.reader import Reader, Subject, given
from ceilo_agent.definition.roles import Role
from ceilo_agent.definition.sinks import SinkDef, Sinks, TransformerDef
from ceilo_agent.definition.sources import SourceDef, Sources
from ceilo_agent.definition.tests import CaseDef, Tests
from ceilo_agent.errors import ConfigError, Fault
from ceilo_agent.shown import shown

__all__ = [
    "CaseDef",
    "Examined",
    "PipelineFile",
    "PublisherDef",
    "Role",
    "SinkDef",
    "SourceDef",
    "TransformerDef",
    "examine",
    "load",
    "unknown_meters",
]

KEYS: Final = ("sources", "sinks", "publishers", "tests")

_BOTH: Final = "both sources and sinks are required"
_REQUIRED: Final = {
    Role.LOCAL: _BOTH,
    Role.POLLING: "sources are required",
    Role.NOTIFICATION: _BOTH,
}


class PipelineFile(msgspec.Struct, frozen=True):
    """A file without a mistake.

    Attributes:
        path: where it was read.
        sources: at least one.
        sinks: at least one; the role polling may do without.
        publishers: those that the file gives a name, by name.
        tests: those of the file, then those beside it.
        warnings: what works but should not stay.
        digest: SHA-256 of its bytes, in hexadecimal.
        role: what it was read for.
        subjects: what a warning is about, where it is about one thing.
    """

    path: Path
    sources: tuple[SourceDef, ...]
    sinks: tuple[SinkDef, ...]
    publishers: Mapping[str, PublisherDef]
    tests: tuple[CaseDef, ...]
    warnings: tuple[Fault, ...]
    digest: str
    role: Role = Role.LOCAL
    subjects: Mapping[Fault, Subject] = {}


class Examined(NamedTuple):
    """What could be read of a file, and every mistake in it.

    Attributes:
        file: what is right; None where nothing could be read. With a mistake it is not whole.
        faults: in the order of the file.
    """

    file: PipelineFile | None
    faults: list[Fault]


def load(path: Path, role: Role = Role.LOCAL) -> PipelineFile:
    """Read and check a pipeline file.

    Raises:
        ConfigError: every mistake in it.
    """
    file, faults = examine(path, role)
    if faults or file is None:
        raise ConfigError(faults)
    return file


def examine(path: Path, role: Role = Role.LOCAL) -> Examined:
    """Read a pipeline file as far as its mistakes allow."""
    try:
        content = document.read(path)
        found = document.parse(content.text, str(path))
    except ConfigError as error:
        return Examined(None, error.faults)
    if found.root is None:
        empty = Fault(str(path), 0, 0, "the file is empty", _REQUIRED[role])
        return Examined(None, sorted([*found.faults, empty]))
    reader = Reader(str(path), found)
    made = _read(reader, found.root, path, content.digest, role)
    return Examined(made, sorted(reader.faults))


def unknown_meters(
    file: PipelineFile, known: Collection[str], elsewhere: Callable[[str], str] = lambda _name: ""
) -> list[Fault]:
    """Return a fault for each pattern that matches none of the known meters.

    Args:
        file: whose sources are looked at.
        known: the names of all meters.
        elsewhere: says where a name that is none of them comes from, empty where that is unknown.
    """
    faults = []
    for source in file.sources:
        for index, near in unknown(source.meters, known):
            pattern, place = source.meters[index], source.meter_positions[index]
            verb = "matches" if "*" in pattern else "is named"
            what = f"no meter {verb} '{shown(pattern)}'"
            hint = elsewhere(pattern.removeprefix("!")) or near
            faults.append(Fault(str(file.path), *place, what, hint))
    return sorted(faults)


def _read(reader: Reader, root: Node, path: Path, digest: str, role: Role) -> PipelineFile | None:
    """Return what the file says; only of use when the reader found no mistake."""
    top = reader.mapping(root, "a mapping with sources and sinks")
    if top is None:
        return None
    _require(reader, top, reader.unknown(top, KEYS, {}), role)
    publishers = Publishers(reader)
    if (node := given(top, "publishers")) is not None:
        publishers.define(node)
    sinks = Sinks(reader, publishers)
    made_sinks = [sinks.read(node) for node in _section(reader, top, "sinks", role)]
    # With a nameless sink one cannot tell which names dangle.
    complete = made_sinks and all(sink is not None and sink.name for sink in made_sinks)
    sources = Sources(reader, frozenset(sinks.names) if complete else None, role)
    made_sources = [sources.read(node) for node in _section(reader, top, "sources", role)]
    tests = Tests(reader, _names(made_sources), frozenset(sinks.names) if complete else None)
    cases = (*tests.read(given(top, "tests")), *tests.beside(path))
    if made_sources and not sources.polls and role is not Role.NOTIFICATION:
        tell = reader.fault if role is Role.POLLING else reader.warn
        tell(top.keys["sources"], "no source has an interval: nothing is polled")
    for name, place in sinks.names.items():
        if name not in sources.fed:
            what = f"no source feeds the sink '{shown(name)}'"
            reader.warn(place, what, about=("sink", name))
    for name, place in publishers.places.items():
        if name not in sinks.published:
            what = f"no sink uses the publisher '{shown(name)}'"
            reader.warn(place, what, about=("publisher", name))
    return PipelineFile(
        path,
        tuple(source for source in made_sources if source is not None),
        tuple(sink for sink in made_sinks if sink is not None),
        {name: made for name, made in publishers.named.items() if made is not None},
        cases,
        tuple(sorted(reader.warnings)),
        digest,
        role,
        reader.subjects,
    )


def _names(sources: Sequence[SourceDef | None]) -> frozenset[str] | None:
    """Return the names of the sources; None where a mistake hides one."""
    found = frozenset(source.name for source in sources if source is not None and source.name)
    return found if found and len(found) == len(sources) else None


def _require(reader: Reader, top: MappingNode, hints: Sequence[str], role: Role) -> None:
    required = ("sources",) if role is Role.POLLING else ("sources", "sinks")
    for key in reader.missing(top, required, hints):
        hint = ""
        if key == "sinks" and "sources" in top.keys:
            hint = (
                "a polling.yaml of Ceilometer is named with cfg_file in [polling] and checked "
                "with --role polling"
            )
        reader.fault(top.position, f"'{key}:' is missing: {_REQUIRED[role]}", hint)


def _section(reader: Reader, top: MappingNode, key: str, role: Role) -> list[Node]:
    if key not in top.entries:
        return []
    nodes = reader.items(top.entries[key], f"a list of {key}")
    if nodes is not None and not nodes:
        what = f"'{key}:' is empty: {_REQUIRED[role]}"
        reader.fault(top.entries[key].position, what)
    return nodes or []
