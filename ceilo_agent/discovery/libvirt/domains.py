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

from ceilo_agent.discovery.compute_api.enrichment import Enrichment
from ceilo_agent.discovery.libvirt.calls import MAX_IN_FLIGHT, Call, DeadlinePassed
from ceilo_agent.discovery.libvirt.connection import SYSTEM, Connection, is_gone
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


class _ConnectionLost(Unavailable):
    """The connection was lost in the middle of a call; another may be had at once."""


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
        asked = context.options.get("compute.fetch_extra_metadata")
        self._enrichment = Enrichment(context) if asked else None
        self._known: dict[str, Known] = {}
        self._unreadable: dict[str, str] = {}
        self._fault: str | None = None
        self._handle: Any = None
        self._pending: Call | None = None
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
        try:
            domains = self._list(deadline)
        except _ConnectionLost:
            # Perhaps it was started anew a moment ago, and answers already.
            domains = self._list(deadline)
        if domains is None:
            return Listing(self._targets(), complete=False)
        return self._listing(domains, deadline)

    def close(self) -> None:
        """Let go of the connection."""
        self._handle = self._pending = None
        self._connection.close()
        if self._enrichment is not None:
            self._enrichment.close()

    def _list(self, deadline: float) -> Sequence[Any] | None:
        """List the domains; None if that takes too long and those that are known may stand in."""
        handle = self._connection.get(deadline)
        if handle is not self._handle:
            # Nobody told of what changed before this connection: read it all again.
            self._handle, self._pending = handle, None
            for known in self._known.values():
                known.guest.stale = True
        if self._pending is None:
            self._pending = self._connection.start(handle.listAllDomains, self._flags)
        try:
            domains: Sequence[Any] = self._pending.result(deadline, give_up=False)
        except libvirt.libvirtError as error:
            self._pending = None
            self._connection.lost(error, handle)
            kind = _ConnectionLost if is_gone(error) else Unavailable
            raise kind(f"libvirt at {self.uri}: {error}") from error
        except DeadlinePassed as error:
            if not self._known:
                what = f"libvirt at {self.uri} does not list its guests: {error}"
                raise Unavailable(what) from error
            return None
        self._pending = None
        return domains

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
        for uuid in self._describe(unread, deadline):
            del present[uuid]
        self._known = {uuid: known for uuid, known in self._known.items() if uuid in present}
        self._unreadable = {uuid: why for uuid, why in self._unreadable.items() if uuid in present}
        if self._enrichment is not None:
            self._enrich(self._enrichment)
        targets = self._targets()
        return Listing(targets, complete=len(targets) == len(present))

    def _enrich(self, enrichment: Enrichment) -> None:
        """Add what Nova's API has told of its instances by now."""
        guests = [known.guest for known in self._known.values()]
        servers = enrichment.of([guest.uuid for guest in guests if guest.description.instance])
        for guest in guests:
            guest.server = servers.get(guest.uuid)

    def _targets(self) -> list[Target]:
        return [Target(uuid, known.guest) for uuid, known in self._known.items()]

    def _describe(self, unread: Sequence[tuple[str, Any]], deadline: float) -> list[str]:
        """Read the XML of some guests, in as many parts as may be in flight; return who is gone."""
        gone = []
        parts = [unread[offset::MAX_IN_FLIGHT] for offset in range(MAX_IN_FLIGHT)]
        calls = [self._connection.start(_read, part) for part in parts if part]
        now = time.monotonic()
        fault = None
        for call in calls:
            try:
                found: list[Found] = call.result(deadline)
            except Unavailable as error:
                fault = str(error)
                continue
            except libvirt.libvirtError as error:
                fault = str(error)
                self._connection.lost(error, self._handle)
                continue
            for uuid, domain, description in found:
                if isinstance(description, Description):
                    guest = Guest(uuid, domain, domain.ID(), description, self._connection)
                    self._known[uuid] = Known(guest, now)
                    self._unreadable.pop(uuid, None)
                    continue
                self._known.pop(uuid, None)
                if description is None:
                    gone.append(uuid)
                elif self._unreadable.get(uuid) != description:
                    LOG.warning("guest %s: its XML cannot be read: %s", domain.name(), description)
                    self._unreadable[uuid] = description
        if fault is not None and fault != self._fault:
            LOG.warning("the XML of some guests cannot be read: %s", fault)
        self._fault = fault
        return gone

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


Found = tuple[str, Any, Description | str | None]
"""A guest's id, its domain, and its description: in words why there is none, None if it is gone."""


def _read(part: Sequence[tuple[str, Any]]) -> list[Found]:
    """Read and parse the XML of some domains.

    Raises:
        libvirt.libvirtError: the connection is gone.
    """
    found: list[Found] = []
    for uuid, domain in part:
        try:
            found.append((uuid, domain, describe(domain.XMLDesc())))
        except libvirt.libvirtError as error:
            if is_gone(error):
                raise
            # A guest that vanished between the listing and now is a normal event.
            gone = error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN
            found.append((uuid, domain, None if gone else str(error)))
        except ValueError as error:
            found.append((uuid, domain, str(error)))
    return found
