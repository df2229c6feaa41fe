# SPDX-License-Identifier: Apache-2.0
"""Reads this host's meters with psutil and from the kernel's own files."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from ceilo_agent.inspection.host import kernel
from ceilo_agent.inspection.host.disks import disks
from ceilo_agent.inspection.host.filesystems import filesystems
from ceilo_agent.inspection.host.interfaces import interfaces
from ceilo_agent.inspection.host.layout import KindLayout, layout
from ceilo_agent.inspection.host.machine import SOURCES
from ceilo_agent.inspection.host.part import Part
from ceilo_agent.inspection.host.sensors import sensors, zones
from ceilo_agent.meters import catalogue
from ceilo_agent.plugins import Context, Inspector, Missing, Observation, Snapshot, Target
from ceilo_agent.sample import Meter, Resource

LOG = logging.getLogger(__name__)

_T = TypeVar("_T")


class _Group(NamedTuple):
    """Parts of the host that are read together.

    Attributes:
        name: for the log.
        kind: their kind in the catalogue.
        sources: the sources that `read` reads.
        read: reads them all.
    """

    name: str
    kind: str
    sources: frozenset[str]
    read: Callable[[], Iterable[Part]]


_GROUPS: Final = (
    _Group("disks", "host_disk", frozenset(("disk_io_counters",)), disks),
    _Group("file systems", "host_disk", frozenset(("statvfs",)), filesystems),
    _Group(
        "network interfaces",
        "host_network_interface",
        frozenset(("net_io_counters", "sysfs_net")),
        interfaces,
    ),
    _Group("sensors", "host_sensor", frozenset(("hwmon",)), sensors),
    _Group("energy of processors", "host_sensor", frozenset(("powercap",)), zones),
)


class HostInspector(Inspector):
    """The machine, its disks, local file systems, network interfaces and sensors.

    One resource of each; what cannot be read costs only its own values, and is told once.
    """

    discovery = "local_node"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._boot = kernel.boot_id()
        self._failing: set[str] = set()

    def meters(self) -> Collection[Meter]:
        """Return the meters of the catalogue."""
        return [Meter(entry.name, entry.unit, entry.type) for entry in catalogue("host").meters]

    def inspect(
        self, targets: Sequence[Target], wanted: frozenset[str], deadline: float
    ) -> Snapshot:
        """Read the wanted meters; the only target that has any is this host."""
        kinds = layout(wanted)
        observations: list[Observation] = []
        missing: list[Missing] = []
        for target in targets:
            found = self._host(target, kinds, deadline) if kinds else []
            observations += found
            if kinds and not found:
                missing.append(Missing(target.id, target.id, "nothing of it could be read"))
        return Snapshot(observations, missing)

    def _host(
        self, target: Target, kinds: Mapping[str, KindLayout], deadline: float
    ) -> list[Observation]:
        found: list[Observation] = []
        if "host" in kinds:
            found += self._machine(target, kinds["host"])
        for group in _GROUPS:
            kind = kinds.get(group.kind)
            if kind is None or kind.sources.isdisjoint(group.sources):
                continue
            if time.monotonic() >= deadline:
                LOG.warning("no time left to read the %s", group.name)
                break
            now, clock = time.time(), time.clock_gettime(time.CLOCK_BOOTTIME)
            parts = self._attempt(group.name, functools.partial(_parts, group)) or ()
            found += [self._observe(target, kind, part, now, clock) for part in parts]
        return found

    def _machine(self, target: Target, kind: KindLayout) -> list[Observation]:
        now, clock = time.time(), time.clock_gettime(time.CLOCK_BOOTTIME)
        readings: dict[str, Mapping[str, Any]] = {}
        for source in kind.sources:
            fields = self._attempt(source, SOURCES[source])
            if fields is not None:
                readings[source] = fields
        if not readings:
            return []
        resource = Resource(self.context.host, None, None, kind.name, self._metadata({}))
        volumes = kind.volumes(readings)
        return [Observation(resource, kind.columns, volumes, now, clock, target.id, self._boot)]

    def _observe(
        self, target: Target, kind: KindLayout, part: Part, now: float, clock: float
    ) -> Observation:
        return Observation(
            resource=Resource(
                f"{self.context.host}.{part.name}",
                None,
                None,
                kind.name,
                self._metadata(part.metadata),
            ),
            columns=kind.columns,
            volumes=kind.volumes(part.readings),
            time=now,
            clock=clock,
            owner=target.id,
            incarnation=f"{self._boot}/{part.device}",
        )

    def _metadata(self, more: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what is known of a resource, and the host under Ceilometer's name for it."""
        return {"resource_url": self.context.host, **more}

    def _attempt(self, what: str, read: Callable[[], _T]) -> _T | None:
        """Return what `read` returns, or None when it fails; tell the first failure in a row."""
        try:
            result = read()
        except Exception as error:  # the kernel's files are parsed here, and by psutil
            if what not in self._failing:
                self._failing.add(what)
                LOG.warning(
                    "cannot read %s of this host: %s: %s", what, type(error).__name__, error
                )
            return None
        self._failing.discard(what)
        return result


def _parts(group: _Group) -> list[Part]:
    return list(group.read())
