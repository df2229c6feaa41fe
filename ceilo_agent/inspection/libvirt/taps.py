# SPDX-License-Identifier: Apache-2.0
"""Which guest has a device on the host where several guests name it.

A device may be removed under a running guest and its name be given to another one's. The XML of
both names it then, and libvirt gives its counters for both.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from ceilo_agent.inspection.libvirt.rows import Row


class Claim(NamedTuple):
    """That a guest names a device: since which cycle, and in which run. The last one has it."""

    since: int
    run: int


class Taps:
    """Remembers who named each device when."""

    def __init__(self) -> None:
        self._claims: dict[tuple[str, str], Claim] = {}
        self._cycle = 0

    def taken(self, rows: Iterable[Row]) -> Mapping[str, set[str]]:
        """Return, by the ids of guests, the devices that they name and another guest has.

        Where all were named when first seen, the guest that was started last has it.
        """
        self._cycle += 1
        heard = set()
        claims: dict[tuple[str, str], Claim] = {}
        named: dict[str, list[str]] = {}
        for guest, reply, *_ in rows:
            heard.add(guest.uuid)
            for number in range(reply.get("net.count", 0)):
                name = reply.get(f"net.{number}.name")
                if not name:
                    continue
                key = guest.uuid, name
                claim = self._claims.get(key)
                if claim is None or claim.run != guest.run:
                    claim = Claim(self._cycle, guest.run)
                claims[key] = claim
                named.setdefault(name, []).append(guest.uuid)
        # Who could not be heard in this cycle is not new in the next.
        claims |= {key: claim for key, claim in self._claims.items() if key[0] not in heard}
        self._claims = claims
        found: dict[str, set[str]] = {}
        for name, guests in named.items():
            if len(guests) > 1:
                has = max(guests, key=lambda uuid: claims[uuid, name])
                for uuid in guests:
                    if uuid != has:
                        found.setdefault(uuid, set()).add(name)
        return found

    def forget(self, present: Collection[str]) -> None:
        """Forget guests that are not present, given their ids."""
        self._claims = {k: v for k, v in self._claims.items() if k[0] in present}
