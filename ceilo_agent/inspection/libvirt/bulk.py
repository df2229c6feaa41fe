# SPDX-License-Identifier: Apache-2.0
"""The bulk call: many guests in a few calls, each with a deadline.

Calls do not grow with the meters: one call gives all groups of its guests. They do not wait for a
guest whose job another client holds (NOWAIT): such a guest answers in part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import libvirt

from ceilo_agent.discovery.libvirt.calls import MAX_IN_FLIGHT, Call
from ceilo_agent.discovery.libvirt.guest import Guest
from ceilo_agent.errors import Unavailable
from ceilo_agent.plugins import Missing

NOWAIT: Final = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT

FEW: Final = 8
"""Guests that are not worth another call."""


class Row(NamedTuple):
    """One guest's reply and when it was read (CLOCK_BOOTTIME)."""

    guest: Guest
    reply: dict[str, Any]
    clock: float


def read(
    guests: Sequence[Guest], groups: int, deadline: float, missing: list[Missing]
) -> Iterator[Row]:
    """Read the groups of all guests; those that gave nothing are added to `missing`.

    A guest that vanished, stopped or was started anew since it was listed is not among the rows.

    Args:
        guests: all of one connection.
        groups: flags of the bulk call.
        deadline: CLOCK_MONOTONIC seconds.
        missing: what is told to the operator.
    """
    parts = max(1, min(MAX_IN_FLIGHT, -(-len(guests) // FEW)))
    size = -(-len(guests) // parts)
    calls = []
    for first in range(0, len(guests), size):
        part = guests[first : first + size]
        calls.append((part, part[0].connection.start(_get_stats, part, groups)))
    for part, call in calls:
        yield from _rows(part, call, deadline, missing)


def _get_stats(part: Sequence[Guest], groups: int) -> list[tuple[Any, dict[str, Any]]]:
    domains = [guest.domain for guest in part]
    handle = domains[0].connect()
    rows: list[tuple[Any, dict[str, Any]]] = handle.domainListGetStats(domains, groups, NOWAIT)
    return rows


def _rows(
    part: Sequence[Guest], call: Call, deadline: float, missing: list[Missing]
) -> Iterator[Row]:
    try:
        rows = call.result(deadline)
    except Unavailable:
        reason = "libvirt did not answer in time"
        if len(part) > 1:
            reason += f" for a call about {len(part)} guests"
        missing.extend(_missing(part, reason))
        return
    except libvirt.libvirtError as error:
        part[0].connection.lost(error, part[0].domain.connect())
        missing.extend(_missing(part, f"libvirt: {error}"))
        return
    by_uuid = {guest.uuid: guest for guest in part}
    # libvirt reads the guests of a call one after another: each one's moment is its share of it.
    step = (call.ended - call.began) / max(1, len(rows))
    for number, (domain, reply) in enumerate(rows):
        guest = by_uuid[domain.UUIDString()]
        # Stopped or started anew since it was listed: the next listing tells which.
        if domain.ID() == guest.run:
            yield Row(guest, reply, call.began + (number + 0.5) * step)


def _missing(part: Sequence[Guest], reason: str) -> Iterator[Missing]:
    return (Missing(guest.uuid, guest.description.name, reason) for guest in part)
