# SPDX-License-Identifier: Apache-2.0
"""One read-only connection to a hypervisor, opened again whenever it is lost."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import libvirt

from ceilo_agent.discovery.libvirt.calls import Call, Crew
from ceilo_agent.errors import Unavailable

LOG = logging.getLogger(__name__)

SYSTEM_SOCKETS: Final = (
    Path("/run/libvirt/libvirt-sock-ro"),
    Path("/run/libvirt/virtqemud-sock-ro"),
)
"""Where the system's libvirtd, or its QEMU part alone, lets everybody read."""

KEEPALIVE: Final = (5, 3)
"""Seconds between probes of a silent peer, and how many may go unanswered."""

_event_loop = threading.Lock()
_event_loop_runs = False


SYSTEM: Final = "qemu:///system"
"""What is read where nothing else is configured."""


def choose_uri(configured: str | None) -> tuple[str, str]:
    """Return what to show a person who configured nothing, and why, in words.

    A daemon does not fall back on the test driver: libvirtd may start after it.
    """
    if configured:
        return configured, "it is configured as [libvirt] uri"
    for socket in SYSTEM_SOCKETS:
        if socket.exists():
            return SYSTEM, f"{socket} is there"
    return "test:///default", "no libvirtd was found; these are the guests of its test driver"


def start_event_loop() -> None:
    """Run libvirt's event loop on a daemon thread, once per process and before connections open."""
    global _event_loop_runs  # noqa: PLW0603 - libvirt's loop is one per process, too
    with _event_loop:
        if _event_loop_runs:
            return
        libvirt.registerErrorHandler(_log_error, None)
        libvirt.virEventRegisterDefaultImpl()
        threading.Thread(target=_run_events, name="libvirt-events", daemon=True).start()
        _event_loop_runs = True


def _run_events() -> None:
    while True:
        libvirt.virEventRunDefaultImpl()


def _log_error(_context: object, error: tuple[Any, ...]) -> None:
    """Keep libvirt from printing each error on standard error; who called gets it as well."""
    LOG.debug("libvirt: %s", error[2])


class Connection:
    """A connection and the crew that calls over it.

    Args:
        uri: what to open.
        name: of its threads.
        opened: called with each new virConnect, on a thread of the crew, to register events; it
            returns the ids of their callbacks.
    """

    def __init__(
        self, uri: str, name: str, opened: Callable[[Any], list[int]] | None = None
    ) -> None:
        self.uri = uri
        self._crew = Crew(name)
        self._opened = opened
        self._handle: Any = None
        self._callbacks: list[int] = []
        self._opening: Call | None = None

    def get(self, deadline: float) -> Any:
        """Return the open virConnect, opening it if need be before `deadline` (CLOCK_MONOTONIC).

        Raises:
            Unavailable: the hypervisor does not answer; the next call tries again.
        """
        if self._handle is not None and self._alive():
            return self._handle
        self._drop()
        if self._opening is None:
            self._opening = self._crew.start(self._open)
        try:
            self._handle, self._callbacks = self._opening.result(deadline, give_up=False)
        except libvirt.libvirtError as error:
            self._opening = None
            raise Unavailable(f"libvirt at {self.uri} cannot be reached: {error}") from error
        except Unavailable:
            # The opening call goes on; the next cycle takes its result up.
            raise Unavailable(f"libvirt at {self.uri} does not answer") from None
        self._opening = None
        LOG.info("connected to libvirt at %s", self.uri)
        return self._handle

    def start(self, function: Callable[..., Any], *args: Any) -> Call:
        """Begin a call over this connection."""
        return self._crew.start(function, *args)

    def lost(self, error: libvirt.libvirtError, handle: Any) -> None:
        """Drop the connection if the error of a call over `handle` means that it is gone."""
        gone = error.get_error_domain() in (libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE)
        if handle is self._handle and (gone or not self._alive()):
            self._drop()

    def close(self) -> None:
        """Forget the connection; a close that blocks keeps nobody waiting."""
        self._drop()
        self._crew.close()

    def _alive(self) -> bool:
        try:
            return bool(self._handle is not None and self._handle.isAlive())
        except libvirt.libvirtError:
            return False

    def _drop(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            # Closing speaks to the peer and may block: leave it to a thread of its own.
            work = (handle, self._callbacks)
            threading.Thread(target=_close, args=work, daemon=True).start()

    def _open(self) -> tuple[Any, list[int]]:
        start_event_loop()
        handle = libvirt.openReadOnly(self.uri)
        try:
            handle.setKeepAlive(*KEEPALIVE)
        except libvirt.libvirtError as error:
            LOG.debug("no keepalive for %s: %s", self.uri, error)
        return handle, self._opened(handle) if self._opened is not None else []


def _close(handle: Any, callbacks: list[int]) -> None:
    """Close a connection. Its callbacks hold it open, here and at the peer, until they are gone."""
    for callback in callbacks:
        with contextlib.suppress(libvirt.libvirtError):
            handle.domainEventDeregisterAny(callback)
    with contextlib.suppress(libvirt.libvirtError):
        handle.close()
