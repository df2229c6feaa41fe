# SPDX-License-Identifier: Apache-2.0
"""From the wanted meters to what is asked of libvirt and where it stands in the reply."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import libvirt

from ceilo_agent.discovery.libvirt.guest import Guest
from ceilo_agent.inspection.libvirt import allocation, cgroup
from ceilo_agent.inspection.libvirt.computed import FUNCTIONS, Compute, Reply
from ceilo_agent.meters.catalogue import Catalogue, Entry
from ceilo_agent.plugins import Column
from ceilo_agent.sample import Volume

GROUPS: Final = {
    "state": libvirt.VIR_DOMAIN_STATS_STATE,
    "cpu": libvirt.VIR_DOMAIN_STATS_CPU_TOTAL,
    "balloon": libvirt.VIR_DOMAIN_STATS_BALLOON,
    "vcpu": libvirt.VIR_DOMAIN_STATS_VCPU,
    "net": libvirt.VIR_DOMAIN_STATS_INTERFACE,
    "block": libvirt.VIR_DOMAIN_STATS_BLOCK,
    "perf": libvirt.VIR_DOMAIN_STATS_PERF,
    "iothread": libvirt.VIR_DOMAIN_STATS_IOTHREAD,
    "memory": getattr(libvirt, "VIR_DOMAIN_STATS_MEMORY", 0),
    "dirtyrate": getattr(libvirt, "VIR_DOMAIN_STATS_DIRTYRATE", 0),
    # Our own fields: whether the monitor answers shows only where it is asked.
    "monitor": libvirt.VIR_DOMAIN_STATS_BALLOON,
}
"""The group of the bulk call that gives a field, by the first part of the field's name."""

NOT_GIVEN: Final = 2**64 - 1
"""What libvirt and QEMU write for an unsigned value they do not have (-1)."""


class KindLayout:
    """Where the columns of one kind of resource stand in a reply.

    Attributes:
        columns: the columns, shared by all observations of the kind.
    """

    def __init__(self, columns: tuple[Column, ...], entries: Sequence[Entry]) -> None:
        self.columns = columns
        chosen = {entry.name: entry for entry in entries}
        ordered = [chosen[column.meter.name] for column in columns]
        # A field no reply has stands for columns that are not simply read.
        self._suffixes = [entry.read or "\0" for entry in ordered]
        self._scaled = [(i, e.per) for i, e in enumerate(ordered) if e.read and e.per != 1]
        self._computed: list[tuple[int, Compute]] = [
            (i, FUNCTIONS[e.compute]) for i, e in enumerate(ordered) if e.compute
        ]
        self._keys: dict[str, tuple[str, ...]] = {}

    def read(self, reply: Reply, prefix: str, guest: Guest) -> list[Volume | None]:
        """Return one value per column, None where the reply has none.

        Args:
            reply: what the bulk call gave of the guest.
            prefix: where the resource's fields stand in it, ``block.0.``.
            guest: whose they are.
        """
        keys = self._keys.get(prefix)
        if keys is None:
            keys = self._keys[prefix] = tuple(prefix + suffix for suffix in self._suffixes)
        values: list[Volume | None] = list(map(reply.get, keys))
        for index, compute in self._computed:
            values[index] = compute(reply, prefix, guest)
        for index, per in self._scaled:
            value = values[index]
            if value is not None:
                values[index] = value / per
        return values


class Layout:
    """All that follows from one set of wanted meters.

    Attributes:
        groups: flags of the bulk call.
        kinds: the layout of each kind of the reply that has a wanted meter, by the kind's name.
        cgroup: the layout of control groups, None where no meter of them is wanted.
        cgroup_fields: the fields that it takes.
    """

    def __init__(self, catalogue: Catalogue, wanted: frozenset[str]) -> None:
        # The state is always read: metadata and the rules on migration need it.
        self.groups: int = GROUPS["state"]
        self.kinds: dict[str, KindLayout] = {}
        self.cgroup: KindLayout | None = None
        self.cgroup_fields: frozenset[str] = frozenset()
        entries = {entry.name: entry for entry in catalogue.meters}
        for name, kind in catalogue.kinds.items():
            columns = catalogue.columns(name, wanted)
            if not columns:
                continue
            needed = [
                kind.fields + field
                for entry in (entries[column.meter.name] for column in columns)
                for field in (entry.needs or ((entry.read,) if entry.read else ()))
            ]
            if name == allocation.KIND:
                for field in needed:
                    self.groups |= allocation.GROUPS.get(field, 0)
                continue
            made = KindLayout(columns, catalogue.meters)
            if name == cgroup.KIND:
                self.cgroup, self.cgroup_fields = made, frozenset(needed)
                continue
            self.kinds[name] = made
            for field in needed:
                self.groups |= GROUPS[field.partition(".")[0]]
