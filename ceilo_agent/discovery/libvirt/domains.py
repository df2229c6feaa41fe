# SPDX-License-Identifier: Apache-2.0
"""The discovery of guests: one listing per cycle, XML only of guests that may have changed."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import Any, Final

import libvirt
import msgspec

from ceilo_agent.discovery.libvirt.calls import MAX_IN_FLIGHT, Call, DeadlinePassed
from ceilo_agent.discovery.libvirt.connection import SYSTEM, Connection
from ceilo_agent.discovery.libvirt.guest import Description, Guest, describe
from ceilo_agent.errors import Unavailable
from ceilo_agent.plugins import Context, Discovery, Listing, Target

LOG = logging.getLogger(__name__)

CHANGES: Final = (
    libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE,
    libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_ADDED,
    libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED,
    libvirt.VIR_DOMAIN_EVENT_ID_METADATA_CHANGE,
    libvirt.VIR_DOMAIN_EVENT_ID_TRAY_CHANGE,
)
"""The events after which the XML of a guest is read again."""


class Known(msgspec.Struct):
    """What is kept of a guest between cycles."""

    guest: Guest
    read: float


class LibvirtDomains(Discovery):
    """The guests that run on this host; stopped ones too when they are asked for."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        uri = context.options["libvirt.uri"] or SYSTEM
        LOG.info("reading guests from %s", uri)
        self.uri = uri
        self._connection = Connection(uri, "libvirt", self._register)
        self._refresh = float(context.options["libvirt.metadata_refresh"])
        self._timeout = float(context.options["libvirt.call_timeout"])
        self._flags = (
            0
            if context.options["compute.report_stopped_instance_metrics"]
            else libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE
        )
        self._known: dict[str, Known] = {}
        self._pending: tuple[Any, Call] | None = None
        self._changed: set[str] = set()
        self._changed_lock = threading.Lock()

    def discover(self, deadline: float) -> Listing:
        """List the guests; one whose XML cannot be read in time comes with a later cycle.

        Takes at most half of the time until the deadline: the other half is for reading. While
        libvirt is slow to list (it waits for each guest that is being started or destroyed), the
        guests that are known stand in.
        """
        now = time.monotonic()
        deadline = now + min(self._timeout, max(0.0, deadline - now) / 2)
        handle = self._connection.get(deadline)
        if self._pending is None or self._pending[0] is not handle:
            call = self._connection.start(handle.listAllDomains, self._flags)
            self._pending = handle, call
        try:
            domains = self._pending[1].result(deadline, give_up=False)
        except libvirt.libvirtError as error:
            self._pending = None
            self._connection.lost(error, handle)
            raise Unavailable(f"libvirt at {self.uri}: {error}") from error
        except DeadlinePassed as error:
            if not self._known:
                what = f"libvirt at {self.uri} does not list its guests: {error}"
                raise Unavailable(what) from error
            return Listing(self._targets(), complete=False)
        self._pending = None
        return self._listing(domains, deadline)

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()

    def _listing(self, domains: Sequence[Any], deadline: float) -> Listing:
        with self._changed_lock:
            changed, self._changed = self._changed, set()
        now = time.monotonic()
        present = {domain.UUIDString(): domain for domain in domains}
        unread = []
        for uuid, domain in present.items():
            known = self._known.get(uuid)
            if known is not None and known.guest.run != domain.ID():
                del self._known[uuid]
                known = None
            if known is None:
                unread.append((uuid, domain))
                continue
            known.guest.domain = domain
            if known.guest.stale or uuid in changed or now - known.read > self._refresh:
                known.guest.stale = True  # until the XML was read
                unread.append((uuid, domain))
        self._describe(unread, deadline)
        self._known = {uuid: known for uuid, known in self._known.items() if uuid in present}
        targets = self._targets()
        return Listing(targets, complete=len(targets) == len(present))

    def _targets(self) -> list[Target]:
        return [Target(uuid, known.guest) for uuid, known in self._known.items()]

    def _describe(self, unread: Sequence[tuple[str, Any]], deadline: float) -> None:
        """Read the XML of some guests, in as many parts as may be in flight."""
        parts = [unread[offset::MAX_IN_FLIGHT] for offset in range(MAX_IN_FLIGHT)]
        calls = [self._connection.start(_read, part) for part in parts if part]
        now = time.monotonic()
        for call in calls:
            try:
                found: list[tuple[str, Any, Description | None]] = call.result(deadline)
            except (Unavailable, libvirt.libvirtError) as error:
                LOG.warning("the XML of some guests cannot be read: %s", error)
                continue
            for uuid, domain, description in found:
                if description is None:
                    self._known.pop(uuid, None)
                    continue
                guest = Guest(uuid, domain, domain.ID(), description, self._connection)
                self._known[uuid] = Known(guest, now)

    def _register(self, handle: Any) -> list[int]:
        callbacks = []
        for event in CHANGES:
            try:
                callbacks.append(handle.domainEventRegisterAny(None, event, self._on_event, None))
            except libvirt.libvirtError as error:
                LOG.debug("no events of kind %s: %s", event, error)
        return callbacks

    def _on_event(self, _handle: Any, domain: Any, *_details: Any) -> None:
        with self._changed_lock:
            self._changed.add(domain.UUIDString())


def _read(part: Sequence[tuple[str, Any]]) -> list[tuple[str, Any, Description | None]]:
    """Read and parse the XML of some domains; None for one that is gone or not readable."""
    found: list[tuple[str, Any, Description | None]] = []
    for uuid, domain in part:
        try:
            found.append((uuid, domain, describe(domain.XMLDesc())))
        except libvirt.libvirtError as error:
            # A guest that vanished between the listing and now is a normal event.
            if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                LOG.warning("the XML of guest %s cannot be read: %s", uuid, error)
            found.append((uuid, domain, None))
        except ValueError as error:
            LOG.warning("guest %s: %s", uuid, error)
            found.append((uuid, domain, None))
    return found
