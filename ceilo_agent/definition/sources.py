# SPDX-License-Identifier: Apache-2.0
"""The sources of a pipeline file: which meters are polled, how often, for which sinks."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

import msgspec

from ceilo_agent import plugins
from ceilo_agent.definition.durations import seconds
from ceilo_agent.definition.installed import Installed
from ceilo_agent.definition.meters import read_meters
from ceilo_agent.definition.naming import read_name
from ceilo_agent.definition.nodes import MappingNode, Node, Position, ScalarNode
from ceilo_agent.definition.reader import Reader, given
from ceilo_agent.definition.roles import Role
from ceilo_agent.errors import nearest
from ceilo_agent.shown import shown

KEYS: Final = ("name", "interval", "meters", "resources", "discovery", "sinks")
LONGEST_INTERVAL: Final = 86400
"""Seconds: one day."""
_BLANK: Final = re.compile(r"[\x00-\x20\x7f]")
_MOST_NAMED: Final = 10
"""Sinks that a hint names."""

# Keys of Ceilometer's files that must not be passed over in silence.
_REFUSED: Final = {
    "group_id_coordination_expression": "it is Python code; leave it out",
    "counters": "the old name of 'meters'",
    "events": "only samples ('meters') go through this file",
}


class SourceDef(msgspec.Struct, frozen=True):
    """What is polled together.

    Attributes:
        name: unique in the file.
        interval: seconds between two polls; None: it does not poll, it only matches what comes in.
        meters: patterns, at least one.
        sinks: names of sinks, at least one; the role polling may do without.
        position: of the source in the file.
        meter_positions: of each of `meters`.
        resources: static resources, URLs of HTTP APIs.
        discovery: what is asked for resources: plugins' names, with ``:`` and a parameter or not.
    """

    name: str
    interval: int | None
    meters: tuple[str, ...]
    sinks: tuple[str, ...]
    position: Position
    meter_positions: tuple[Position, ...]
    resources: tuple[str, ...] = ()
    discovery: tuple[str, ...] = ()


def unfit_base(text: str) -> str:
    """Return why a static resource cannot be polled, empty if it can: it is a URL of an API."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
        parts = urlsplit("")
    if parts.scheme not in {"http", "https"} or not host or port == 0 or _BLANK.search(text):
        return "an absolute http:// or https:// URL was expected"
    if "@" in parts.netloc:
        return "its user name and password belong into the pollsters' 'authentication'"
    if parts.fragment:
        return "what stands behind the # goes to no server"
    return ""


class Sources:
    """Reads the sources of one file.

    Args:
        reader: takes the mistakes.
        sinks: the names of the file's sinks; None when they are not known: for a mistake elsewhere,
            or because the role does without.
        role: what the file is read for.

    Attributes:
        fed: the names of the sinks that a source names.
        polls: whether a source has an interval, right or wrong.
    """

    def __init__(
        self, reader: Reader, sinks: frozenset[str] | None, role: Role = Role.LOCAL
    ) -> None:
        self.fed: set[str] = set()
        self.polls = False
        self._role = role
        self._reader = reader
        self._sinks = sinks
        self._discoveries = Installed(plugins.DISCOVERY, "")
        self._names: dict[str, Position] = {}

    def read(self, node: Node) -> SourceDef | None:
        """Read one source; None after a mistake that leaves nothing of it."""
        source = self._reader.mapping(node, "a source (name, interval, meters, sinks)")
        if source is None:
            return None
        required = ("name", "meters") if self._sinks is None else ("name", "meters", "sinks")
        self._reader.keys(source, KEYS, required, _REFUSED)
        entries = source.entries
        name = read_name(self._reader, source, "source", self._names)
        meters = read_meters(self._reader, entries["meters"]) if "meters" in entries else []
        self.polls |= "interval" in entries
        return SourceDef(
            name,
            self._interval(entries["interval"]) if "interval" in entries else None,
            tuple(pattern for pattern, _ in meters),
            self._sinks_of(entries["sinks"], name) if "sinks" in entries else (),
            source.position,
            tuple(place for _, place in meters),
            self._resources(source),
            self._discovery(source),
        )

    def _interval(self, node: Node) -> int | None:
        value = node.value if isinstance(node, ScalarNode) else None
        # True is an int to Python.
        if type(value) is int and 0 < value <= LONGEST_INTERVAL:
            return value
        what = f"interval: a whole number of seconds from 1 to {LONGEST_INTERVAL}"
        self._reader.expected(node, what, seconds(value, LONGEST_INTERVAL))
        return None

    def _sinks_of(self, node: Node, name: str) -> tuple[str, ...]:
        found = self._reader.texts(node, "a list of sinks' names", "the name of a sink")
        if found is None:
            return ()
        if self._reader.is_empty(node):
            self._reader.fault(node.position, f"the source '{shown(name)}' names no sink")
        seen: set[str] = set()
        for sink, place in found:
            if sink in seen:
                what = f"the sink '{shown(sink)}' stands twice in source '{shown(name)}'"
                self._reader.fault(place, what)
            elif self._sinks is not None and sink not in self._sinks:
                what = f"dangling sink '{shown(sink)}' from source '{shown(name)}'"
                names = [shown(name) for name in sorted(self._sinks)]
                there = f"there are {', '.join(names)}" if 1 < len(names) <= _MOST_NAMED else ""
                self._reader.fault(place, what, nearest(sink, names) or there)
            seen.add(sink)
        self.fed |= seen
        return tuple(sink for sink, _ in found)

    def _resources(self, source: MappingNode) -> tuple[str, ...]:
        found = self._texts(source, "resources", "a resource")
        for text, place in found if self._role is not Role.NOTIFICATION else ():
            if reason := unfit_base(text):
                self._reader.fault(place, f"resource '{shown(text)}': {reason}")
        return tuple(text for text, _ in found)

    def _discovery(self, source: MappingNode) -> tuple[str, ...]:
        found = self._texts(source, "discovery", "a discovery")
        # Where nothing is polled, the plugins for it need not be installed.
        for text, place in found if self._role is not Role.NOTIFICATION else ():
            if text.partition(":")[0] not in self._discoveries.names:
                self._reader.fault(place, *self._discoveries.missing(text.partition(":")[0]))
        return tuple(text for text, _ in found)

    def _texts(self, source: MappingNode, key: str, item: str) -> list[tuple[str, Position]]:
        node = given(source, key)
        return [] if node is None else self._reader.texts(node, f"{key}: a list", item) or []
