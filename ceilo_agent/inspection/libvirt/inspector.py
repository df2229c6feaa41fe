# SPDX-License-Identifier: Apache-2.0
"""The inspector of guests: one snapshot per cycle from a few bulk calls."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, ClassVar, Final

import libvirt

from ceilo_agent.discovery.libvirt.guest import Guest
from ceilo_agent.inspection.libvirt import cgroup
from ceilo_agent.inspection.libvirt.allocation import Allocation
from ceilo_agent.inspection.libvirt.incoming import Incoming
from ceilo_agent.inspection.libvirt.layout import NOT_GIVEN, Layout
from ceilo_agent.inspection.libvirt.parts import PARTS
from ceilo_agent.inspection.libvirt.reader import Reader
from ceilo_agent.inspection.libvirt.resources import GuestResources
from ceilo_agent.inspection.libvirt.rows import Row
from ceilo_agent.inspection.libvirt.taps import Taps
from ceilo_agent.meters.catalogue import catalogue
from ceilo_agent.plugins import Context, Inspector, Missing, Observation, Snapshot, Target
from ceilo_agent.sample import Meter

NOTHING: Final[Collection[str]] = frozenset()


class LibvirtInspector(Inspector):
    """Reads guests in bulk, only the groups that the wanted meters need."""

    discovery: ClassVar[str] = "libvirt"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._catalogue = catalogue("compute")
        self._layouts: dict[frozenset[str], Layout] = {}
        self._resources: dict[str, tuple[tuple[Any, ...], GuestResources]] = {}
        self._incoming = Incoming()
        self._taps = Taps()
        self._reader: Reader | None = None
        stopped = bool(context.options.get("compute.report_stopped_instance_metrics"))
        self._allocation = Allocation(self._catalogue, context.host, stopped_are_listed=stopped)
        self._cgroups = cgroup.ControlGroups()

    def meters(self) -> Collection[Meter]:
        """Return all meters of the catalogue."""
        return [Meter(entry.name, entry.unit, entry.type) for entry in self._catalogue.meters]

    def inspect(
        self, targets: Sequence[Target], wanted: frozenset[str], deadline: float
    ) -> Snapshot:
        """Read the wanted meters of all guests.

        Raises:
            Unavailable: none of them can be read now.
        """
        present = {target.id for target in targets}
        self._resources = {k: v for k, v in self._resources.items() if k in present}
        self._incoming.forget(present)
        self._taps.forget(present)
        listed: list[Guest] = [target.handle for target in targets]
        guests, incoming = self._incoming.part(listed, deadline)
        local = bool(guests) and cgroup.is_local(guests[0].connection.uri)
        self._cgroups.begin(present, local=local)
        rows, missing = self._read(guests, wanted, deadline) if guests else ([], [])
        found = list(self.observe(rows, wanted))
        unread = {lack.target for lack in missing if not lack.partial}
        whole = self._allocation.observe(listed, [*rows, *incoming], unread, wanted, deadline)
        if whole is not None:
            found.append(whole)
        return Snapshot(found, missing)

    def close(self) -> None:
        """Let go of the connections; calls that are stuck keep nobody waiting."""
        if self._reader is not None:
            self._reader.close()

    def observe(self, rows: Iterable[Row], wanted: frozenset[str]) -> Iterator[Observation]:
        """Turn replies into observations, one per resource that has a wanted meter."""
        layout = self._layout(wanted)
        ahead = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        rows = list(rows)
        taken = self._taps.taken(rows)
        for guest, whole, clock, _ in rows:
            if not self._incoming.is_here(guest, whole):
                continue
            reply = whole
            if NOT_GIVEN in whole.values():
                reply = {name: value for name, value in whole.items() if value != NOT_GIVEN}
            if whole.get("state.state") == libvirt.VIR_DOMAIN_SHUTOFF:
                # libvirt 9.0 tells CPU times of stopped guests; they are of no process of theirs.
                reply = {name: reply[name] for name in reply if not name.startswith("cpu.")}
            resources = self._resources_of(guest, reply)
            resources.taken = taken.get(guest.uuid, NOTHING)
            moment = clock + ahead
            for kind, found in layout.kinds.items():
                for prefix, (resource, incarnation) in PARTS[kind](reply, resources):
                    values = found.read(reply, prefix, guest)
                    yield Observation(
                        resource, found.columns, values, moment, clock, guest.uuid, incarnation
                    )
            accounted = self._observe_cgroup(guest, resources, layout)
            if accounted is not None:
                yield accounted

    def _read(
        self, guests: Sequence[Guest], wanted: frozenset[str], deadline: float
    ) -> tuple[list[Row], list[Missing]]:
        if self._reader is None:
            timeout = float(self.context.options["libvirt.call_timeout"])
            self._reader = Reader(guests[0].connection.uri, timeout)
        return self._reader.read(guests, self._layout(wanted).groups, deadline)

    def _observe_cgroup(
        self, guest: Guest, resources: GuestResources, layout: Layout
    ) -> Observation | None:
        """Read a guest's control group, at its own moment; None where there is nothing to read."""
        if layout.cgroup is None:
            return None
        clock = time.clock_gettime(time.CLOCK_BOOTTIME)
        moment = time.time()
        fields = self._cgroups.read(guest, layout.cgroup_fields)
        if not fields:
            return None
        part = resources.other(cgroup.KIND, "cgroup", {})
        values = layout.cgroup.read(fields, cgroup.PREFIX, guest)
        return Observation(
            part.resource, layout.cgroup.columns, values, moment, clock, guest.uuid,
            part.incarnation,
        )  # fmt: skip

    def _layout(self, wanted: frozenset[str]) -> Layout:
        layout = self._layouts.get(wanted)
        if layout is None:
            layout = self._layouts[wanted] = Layout(self._catalogue, wanted)
        return layout

    def _resources_of(self, guest: Guest, reply: dict[str, Any]) -> GuestResources:
        state, reason = reply.get("state.state", 0), reply.get("state.reason", 0)
        vcpus = reply.get("vcpu.current")
        key = (guest, state, reason, vcpus, guest.server)
        cached = self._resources.get(guest.uuid)
        if cached is not None and cached[0] == key:
            return cached[1]
        made = GuestResources(guest, self.context.host, state, reason, vcpus)
        self._resources[guest.uuid] = (key, made)
        return made
