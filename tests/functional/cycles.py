# SPDX-License-Identifier: Apache-2.0
"""A real discovery, inspector and lane over a hypervisor, whose cycles a test begins."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Any

from ceilo_agent import options
from ceilo_agent.discovery.libvirt.domains import LibvirtDomains
from ceilo_agent.inspection.libvirt.inspector import LibvirtInspector
from ceilo_agent.meters.catalogue import catalogue
from ceilo_agent.plugins import Context
from ceilo_agent.polling.lane import Due, Lane
from ceilo_agent.polling.tracker import Tracker
from ceilo_agent.sample import FIRST, Batch, Resource, Sample
from tests.guests import Guest

EVERYTHING = frozenset(entry.name for entry in catalogue("compute").meters)
DERIVED = frozenset(entry.name for entry in catalogue("compute").meters if entry.derive)
INTERVAL = 20.0

Seen = dict[str, dict[str, Sample]]
"""What a cycle gave of one guest: the samples by the ids of resources and the names of meters."""


class Cycles:
    """One lane of the agent.

    Args:
        guests: whose samples are looked at; others may run beside them.
        uri: of the hypervisor.
        configured: further options by ``section.name``.

    Attributes:
        hypervisor: what the last cycle gave of all guests together.
    """

    def __init__(
        self, guests: Collection[Guest], uri: str = "qemu:///system", **configured: Any
    ) -> None:
        conf = options.parse([], {"libvirt.uri": uri, **configured})
        context = Context("here", options.values(conf))
        self.discovery = LibvirtDomains(context)
        self.inspector = LibvirtInspector(context)
        self.hypervisor: dict[str, float] = {}
        self._own = {guest.uuid for guest in guests}
        self._batches: list[Batch] = []
        source = Due("s", INTERVAL, EVERYTHING, Tracker("s", EVERYTHING.__contains__, INTERVAL))
        self.lane = Lane(
            "compute", "here", self.discovery, self.inspector, [source], self._batches.append
        )

    def poll(self) -> dict[str, Seen]:
        """Run a cycle and return what it gave of each guest, by the guest's id."""
        self._batches.clear()
        self.lane.poll_all()
        found: dict[str, Seen] = {}
        self.hypervisor = {}
        for sample in self._batches[0].samples if self._batches else ():
            owner = sample.resource.metadata.get("instance_id")
            if owner is None:
                self.hypervisor[sample.meter.name] = sample.volume
            elif owner in self._own:
                seen = found.setdefault(owner, {})
                seen.setdefault(sample.resource.id, {})[sample.meter.name] = sample
        return found

    def of(self, guest: Guest) -> Seen:
        """Run a cycle and return what it gave of one guest."""
        return self.poll().get(guest.uuid, {})

    def until(
        self, guest: Guest, condition: Callable[[Seen], Any], cycles: int = 3, pause: float = 0.3
    ) -> Seen:
        """Run a few cycles, the first after a pause, until what one gave of a guest is as wanted.

        libvirt tells of a change a moment after it was made.
        """
        for _ in range(cycles):
            time.sleep(pause)
            seen = self.of(guest)
            if condition(seen):
                return seen
        raise AssertionError(f"not after {cycles} cycles; of {guest.name}: {shown(seen)}")

    def close(self) -> None:
        """End it."""
        self.lane.close()


def resource(seen: Seen, name: str) -> Resource:
    """Return a resource that was seen."""
    return next(iter(seen[name].values())).resource


def volumes(samples: dict[str, Sample]) -> dict[str, float]:
    """Return what was read, by the names of meters."""
    return {name: sample.volume for name, sample in samples.items()}


def firsts(seen: Seen) -> set[bool]:
    """Return whether samples have no reading before them; derived ones follow a cycle later."""
    return {
        sample.previous is FIRST
        for samples in seen.values()
        for name, sample in samples.items()
        if name not in DERIVED
    }


def state(seen: Seen, guest: Guest) -> float | None:
    """Return the power state of a guest, None where it was not seen."""
    sample = seen.get(guest.uuid, {}).get("power.state")
    return sample.volume if sample is not None else None


def read(seen: Seen) -> dict[str, set[str]]:
    """Return which meters were read of each resource, without the derived ones."""
    return {name: samples.keys() - DERIVED for name, samples in seen.items()}


def shown(seen: Seen) -> str:
    """Return what was seen, for people."""
    return "; ".join(f"{name}: {volumes(samples)}" for name, samples in seen.items()) or "nothing"
