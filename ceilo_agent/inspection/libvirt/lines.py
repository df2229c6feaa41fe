# SPDX-License-Identifier: Apache-2.0
"""The connections that bulk calls go over, apart from the one that discovery uses.

A call that hangs keeps one of the few requests that libvirtd serves of a connection. Now and then
libvirt's client also keeps back the answers of other calls over the connection until that call has
returned (seen with libvirt 9.0). So a line with such a call is set aside until the call has
returned, and a call that is likely to hang has a line of its own.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Collection, Sequence
from typing import Any, Final

import libvirt

from ceilo_agent.discovery.libvirt.calls import MAX_IN_FLIGHT, Call
from ceilo_agent.discovery.libvirt.connection import Connection
from ceilo_agent.discovery.libvirt.guest import Guest
from ceilo_agent.inspection.libvirt.warmup import NEEDY, Warmup

MAX_STUCK: Final = 12
"""Calls that may be under way, so that no more can ever be stuck. libvirtd works on 20 at a time
(`max_workers`), of all its clients; the rest is left to them."""

WARMUP_SHARE: Final = 0.3
"""Of the time that is left in a cycle, to wait for a libvirtd that was just started."""

Answer = list[tuple[Any, dict[str, Any]]]


class Line:
    """A connection for bulk calls.

    Args:
        uri: of the hypervisor.
        name: of its threads.
        apart: whether it is for one call at a time.
    """

    def __init__(self, uri: str, name: str, *, apart: bool) -> None:
        self.apart = apart
        self._connection = Connection(uri, name)
        self._handle: Any = None
        self._domains: dict[str, Any] = {}
        self._calls: list[Call] = []
        self._stuck: list[Call] = []

    @property
    def in_flight(self) -> int:
        """How many calls are under way."""
        self._calls = [call for call in self._calls if not call.done]
        return len(self._calls)

    @property
    def clean(self) -> bool:
        """Whether none of its calls is stuck."""
        self._stuck = [call for call in self._stuck if not call.done]
        return not self._stuck

    @property
    def known(self) -> int:
        """How many guests it can ask for without looking them up."""
        return len(self._domains)

    @property
    def alive(self) -> bool:
        """Whether its connection is open."""
        return self._connection.alive

    def open(self, deadline: float) -> None:
        """Have the connection open before `deadline` (CLOCK_MONOTONIC).

        Raises:
            Unavailable: the hypervisor does not answer.
        """
        handle = self._connection.get(deadline)
        if handle is not self._handle:
            self._handle, self._domains = handle, {}

    def start(self, guests: Sequence[Guest], groups: int, flags: int) -> Call:
        """Begin a bulk call about some guests; its result is an `Answer`."""
        call = self._connection.start(_ask, self._handle, self._domains, guests, groups, flags)
        self._calls.append(call)
        return call

    def set_aside(self, call: Call) -> None:
        """Begin no other call until this one has returned."""
        self._stuck.append(call)

    def failed(self, error: libvirt.libvirtError) -> bool:
        """Take note of a call's error; tell whether the connection is gone."""
        self._connection.lost(error, self._handle)
        return error.get_error_domain() in (libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE)

    def forget(self, present: Collection[str]) -> None:
        """Let go of guests that are not present."""
        if self._domains.keys() - present:
            # Calls under way keep the dictionary that they were given.
            self._domains = {k: v for k, v in self._domains.items() if k in present}

    def close(self) -> None:
        """Let go of the connection; never blocks."""
        # Domains hold their connection open.
        self._handle, self._domains = None, {}
        self._connection.close()


class Lines:
    """A few lines, opened and closed as calls need them."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._lines: list[Line] = []
        self._numbers = itertools.count(1)
        self._warmup = Warmup(uri)
        self._fresh = True

    @property
    def in_flight(self) -> int:
        """How many calls are under way."""
        return sum(line.in_flight for line in self._lines)

    def answerable(self, groups: int, deadline: float) -> int:
        """Return which of the groups may be asked for without holding up everybody.

        Args:
            groups: flags of the bulk call.
            deadline: of the cycle, CLOCK_MONOTONIC.
        """
        if not groups & NEEDY:
            return groups
        if self._fresh:  # perhaps libvirtd is, too
            self._fresh = False
            now = time.monotonic()
            self._warmup.begin(now + WARMUP_SHARE * max(0.0, deadline - now))
        return groups & ~NEEDY if self._warmup.cold else groups

    def take(self, deadline: float, *, apart: bool) -> Line:
        """Return an open line without a stuck call and with room for a call.

        Args:
            deadline: when to stop waiting for it to open, CLOCK_MONOTONIC.
            apart: whether the call is likely to hang.

        Raises:
            Unavailable: the hypervisor does not answer.
        """
        most = 1 if apart else MAX_IN_FLIGHT
        for line in self._lines:
            if line.apart == apart and line.in_flight < most and line.clean:
                break
        else:
            name = f"libvirt-read-{next(self._numbers)}"
            line = Line(self.uri, name, apart=apart)
            self._lines.append(line)
        self._fresh = self._fresh or not any(each.alive for each in self._lines)
        line.open(deadline)
        return line

    def tidy(self, present: Collection[str], *, suspects: bool) -> None:
        """Close idle lines that are one too many, and forget guests that are not present.

        Args:
            present: ids of guests.
            suspects: whether a line for guests that may hang will be needed again.
        """
        kept: set[bool] = set() if suspects else {True}
        remaining = []
        for line in sorted(self._lines, key=lambda line: -line.known):
            if not line.in_flight and line.apart in kept:
                line.close()
                continue
            if line.clean:
                kept.add(line.apart)
            line.forget(present)
            remaining.append(line)
        self._lines = remaining

    def close(self) -> None:
        """Let go of all lines; calls that are stuck end when they end."""
        for line in self._lines:
            line.close()
        self._lines = []


def _ask(
    handle: Any, domains: dict[str, Any], guests: Sequence[Guest], groups: int, flags: int
) -> Answer:
    """Make a bulk call.

    Args:
        handle: a virConnect.
        domains: its domains by uuid; those not yet known are looked up and added.
        guests: whom to ask for; one that is gone is left out.
        groups: flags of the groups.
        flags: of the call.
    """
    found = []
    for guest in guests:
        domain = domains.get(guest.uuid)
        if domain is None:
            try:
                domain = domains[guest.uuid] = handle.lookupByUUIDString(guest.uuid)
            except libvirt.libvirtError as error:
                if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                    continue
                raise
        found.append(domain)
    answer: Answer = handle.domainListGetStats(found, groups, flags) if found else []
    return answer
