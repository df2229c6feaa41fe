# SPDX-License-Identifier: Apache-2.0
"""Which guests are this host's: one that migrates is reported where it runs.

An incoming guest is paused until the switch, and its job is held all that time: asked for more than
its state it would look like one that hangs.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import libvirt

from ceilo_agent.discovery.libvirt.guest import Guest
from ceilo_agent.errors import Unavailable
from ceilo_agent.inspection.libvirt.rows import Row

LOG = logging.getLogger(__name__)

PATIENCE: Final = 1.0
"""Seconds that the states may take: a guest that is just being started holds them up."""

REASONS: Final = (libvirt.VIR_DOMAIN_PAUSED_MIGRATION, libvirt.VIR_DOMAIN_PAUSED_STARTING_UP)
"""Of a paused guest that is not this host's yet, unless it was seen running here."""


class Incoming:
    """Tells guests that run here from those that are yet to come or have gone elsewhere."""

    def __init__(self) -> None:
        self._ran: dict[str, int] = {}

    def part(
        self, guests: Sequence[Guest], deadline: float
    ) -> tuple[Sequence[Guest], Sequence[Row]]:
        """Return the guests without incoming ones, and rows with what is promised to those.

        All are guests of this host where libvirt does not tell in time. One call without a monitor,
        about guests that were not seen running.

        Args:
            guests: of one hypervisor.
            deadline: when to stop waiting, CLOCK_MONOTONIC.
        """
        new = [g for g in guests if g.run >= 0 and self._ran.get(g.uuid) != g.run]
        if not new:
            return guests, ()
        call = new[0].connection.start(_states, new)
        try:
            ends = min(deadline, time.monotonic() + PATIENCE)
            states: dict[str, dict[str, Any]] = call.result(ends)
        except (Unavailable, libvirt.libvirtError) as error:
            LOG.debug("the states of new guests are not known: %s", error)
            return guests, ()
        clock = time.clock_gettime(time.CLOCK_BOOTTIME)
        away = {
            guest.uuid: Row(guest, states[guest.uuid], clock, None)
            for guest in new
            if guest.uuid in states and not self.is_here(guest, states[guest.uuid])
        }
        return [guest for guest in guests if guest.uuid not in away], list(away.values())

    def is_here(self, guest: Guest, reply: Mapping[str, Any]) -> bool:
        """Tell by its state whether this host reports a guest."""
        state, reason = reply.get("state.state"), reply.get("state.reason")
        if state == libvirt.VIR_DOMAIN_RUNNING:
            self._ran[guest.uuid] = guest.run
        if state == libvirt.VIR_DOMAIN_SHUTOFF:
            return bool(reason != libvirt.VIR_DOMAIN_SHUTOFF_MIGRATED)
        return not (
            state == libvirt.VIR_DOMAIN_PAUSED
            and reason in REASONS
            and self._ran.get(guest.uuid) != guest.run
        )

    def forget(self, present: Collection[str]) -> None:
        """Forget guests that are not present, given their ids."""
        self._ran = {k: v for k, v in self._ran.items() if k in present}


def _states(guests: Sequence[Guest]) -> dict[str, dict[str, Any]]:
    """Return the states of guests by their ids, and the sizes of those that may be incoming."""
    domains = [guest.domain for guest in guests]
    states: dict[str, dict[str, Any]] = {}
    found = domains[0].connect().domainListGetStats(domains, libvirt.VIR_DOMAIN_STATS_STATE, 0)
    for domain, reply in found:
        states[domain.UUIDString()] = reply
        if reply.get("state.reason") in REASONS:
            with contextlib.suppress(libvirt.libvirtError):  # it is gone
                _, maximum, _, vcpus, _ = domain.info()
                reply |= {"vcpu.current": vcpus, "balloon.maximum": maximum}
    return states
