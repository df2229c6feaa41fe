# SPDX-License-Identifier: Apache-2.0
"""What a hypervisor has promised to its guests, against what it has, and how its guests fare."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

import libvirt

from ceilo_agent.discovery.libvirt.connection import Connection
from ceilo_agent.discovery.libvirt.guest import Guest
from ceilo_agent.errors import Unavailable
from ceilo_agent.inspection.libvirt.cgroup import is_local
from ceilo_agent.inspection.libvirt.rows import Condition, Row
from ceilo_agent.meters.catalogue import Catalogue
from ceilo_agent.plugins import Observation
from ceilo_agent.sample import Resource, Volume

KIND: Final = "hypervisor"
"""In the catalogue."""

KIB_PER_MIB: Final = 1024
BYTES_PER_MIB: Final = 1024 * 1024

GROUPS: Final = {
    "hypervisor.vcpus.allocated": libvirt.VIR_DOMAIN_STATS_VCPU,
    "hypervisor.vcpus.ratio": libvirt.VIR_DOMAIN_STATS_VCPU,
    "hypervisor.memory.allocated": libvirt.VIR_DOMAIN_STATS_BALLOON,
    "hypervisor.memory.ratio": libvirt.VIR_DOMAIN_STATS_BALLOON,
    # Only a guest whose QEMU has a part in the answer can be told to be busy or to hang.
    "hypervisor.guests.busy": libvirt.VIR_DOMAIN_STATS_BALLOON,
    "hypervisor.guests.hung": libvirt.VIR_DOMAIN_STATS_BALLOON,
}
"""What the bulk call must give for a field of the hypervisor, beside the state."""

STATES: Final = {
    libvirt.VIR_DOMAIN_RUNNING: "running",
    libvirt.VIR_DOMAIN_BLOCKED: "running",
    libvirt.VIR_DOMAIN_SHUTDOWN: "running",  # being shut down: its QEMU is there
    libvirt.VIR_DOMAIN_PAUSED: "paused",
    libvirt.VIR_DOMAIN_PMSUSPENDED: "paused",
    libvirt.VIR_DOMAIN_SHUTOFF: "stopped",
    libvirt.VIR_DOMAIN_CRASHED: "crashed",
}
"""How the states of guests (virDomainState) are counted."""

ASK_EVERY: Final = 300.0
"""Seconds between two questions to another host what it has; processors and memory seldom come."""

ASK_TIMEOUT: Final = 0.5
"""Seconds that the answer may take."""


class Present(NamedTuple):
    """What a host has: online processors, and memory in MiB."""

    vcpus: int
    memory: int


class Given(NamedTuple):
    """What one run of a guest was promised: vCPUs, and memory in KiB; None until it was read."""

    run: int
    vcpus: int | None
    memory: int | None


class Allocation:
    """Counts and sums over all guests of one hypervisor, an observation for each cycle.

    Args:
        found: the catalogue of the namespace.
        host: this host's name.
        stopped_are_listed: whether guests that do not run are among those that are read.
    """

    def __init__(self, found: Catalogue, host: str, *, stopped_are_listed: bool) -> None:
        self._catalogue = found
        self._stopped_are_listed = stopped_are_listed
        # Not the host's name alone: that is the id of the machine's own meters.
        self._resource = Resource(f"{host}.{KIND}", None, None, KIND, {"host": host})
        self._given: dict[str, Given] = {}
        self._present: Present | None = None
        self._ask_at = 0.0
        self._entries = {entry.name: entry for entry in found.meters if entry.kind == KIND}
        self._columns = found.columns(KIND, frozenset())
        self._wanted: frozenset[str] = frozenset()

    def observe(
        self,
        guests: Sequence[Guest],
        rows: Sequence[Row],
        unread: Collection[str],
        wanted: frozenset[str],
        deadline: float,
    ) -> Observation | None:
        """Return what is known of the hypervisor, None where no meter of it is wanted.

        A sum that lacks the part of a guest that runs is absent, not too low. A guest that did not
        answer counts with what it was promised when its run was last read.

        Args:
            guests: all that were listed.
            rows: those that were read.
            unread: ids of guests that gave no row although they are there.
            wanted: names of meters.
            deadline: CLOCK_MONOTONIC seconds.
        """
        if wanted != self._wanted:
            self._wanted, self._columns = wanted, self._catalogue.columns(KIND, wanted)
        if not self._columns:
            return None
        fields = self._counted(rows, unread)
        fields |= self._promised(guests, rows, unread)
        local = not guests or is_local(guests[0].connection.uri)
        present = local_machine() if local else self._asked(guests[0].connection, deadline)
        for name, has in present._asdict().items() if present is not None else ():
            fields[f"{name}.present"] = has
            promised = fields.get(f"{name}.allocated")
            if promised is not None and has:
                fields[f"{name}.ratio"] = promised / has
        return Observation(
            resource=self._resource,
            columns=self._columns,
            volumes=[
                fields.get(self._entries[column.meter.name].read or "") for column in self._columns
            ],
            time=time.time(),
            clock=time.clock_gettime(time.CLOCK_BOOTTIME),
            # One of its guests, so that its readings are kept while there are any.
            owner=min((guest.uuid for guest in guests), default=""),
        )

    def _counted(self, rows: Sequence[Row], unread: Collection[str]) -> dict[str, Volume | None]:
        """Return how many guests there are of each state and condition."""
        counts = dict.fromkeys((*STATES.values(), "busy", "hung"), 0)
        for row in rows:
            state = STATES.get(row.reply.get("state.state", -1))
            if state is not None:
                counts[state] += 1
            if row.condition is Condition.BUSY:
                counts["busy"] += 1
            elif row.condition is Condition.HUNG:
                counts["hung"] += 1
        found: dict[str, Volume | None] = {f"guests.{name}": n for name, n in counts.items()}
        if not self._stopped_are_listed:
            found["guests.stopped"] = None
        found["guests.unread"] = len(unread)
        return found

    def _promised(
        self, guests: Sequence[Guest], rows: Sequence[Row], unread: Collection[str]
    ) -> Mapping[str, Volume | None]:
        """Return the vCPUs and the memory (MiB) that the guests were given that run here.

        One that is being received by a migration is among them: its memory is taken.
        """
        before, self._given = self._given, {}
        replies = {row.guest.uuid: row.reply for row in rows}
        for guest in guests:
            reply = replies.get(guest.uuid)
            if guest.run < 0 or (reply is None and guest.uuid not in unread):
                continue  # stopped, or gone since it was listed
            reply = reply or {}
            vcpus, memory = reply.get("vcpu.current"), reply.get("balloon.maximum")
            known = before.get(guest.uuid)
            if known is not None and known.run == guest.run:
                vcpus = known.vcpus if vcpus is None else vcpus
                memory = known.memory if memory is None else memory
            self._given[guest.uuid] = Given(guest.run, vcpus, memory)
        vcpus = _total([given.vcpus for given in self._given.values()])
        memory = _total([given.memory for given in self._given.values()])
        return {
            "vcpus.allocated": vcpus,
            "memory.allocated": None if memory is None else memory / KIB_PER_MIB,
        }

    def _asked(self, connection: Connection, deadline: float) -> Present | None:
        """Ask libvirt what the host has (virNodeGetInfo), at times."""
        now = time.monotonic()
        if now >= self._ask_at:
            self._ask_at = now + ASK_EVERY
            until = min(deadline, now + ASK_TIMEOUT)
            try:
                handle = connection.get(until)
                _, memory, vcpus, *_ = connection.start(handle.getInfo).result(until)
                self._present = Present(vcpus, memory)
            except (Unavailable, libvirt.libvirtError):
                pass  # what it said before stands; the guests' meters tell that it is away
        return self._present


def local_machine() -> Present:
    """Return what this machine has; it costs less than to ask libvirt, and works without guests."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Present(os.sysconf("SC_NPROCESSORS_ONLN"), pages // BYTES_PER_MIB)


def _total(parts: Sequence[int | None]) -> int | None:
    """Sum, unless a part is not known."""
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None
