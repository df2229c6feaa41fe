# SPDX-License-Identifier: Apache-2.0
"""One read-only connection to a hypervisor, opened again whenever it is lost."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import libvirt

from ceilo_agent.discovery.libvirt.calls import Call, Crew, DeadlinePassed
from ceilo_agent.discovery.libvirt.opening import Opening, Pause, close_later, open_read_only
from ceilo_agent.discovery.libvirt.unreachable import explain, explain_silence, is_local
from ceilo_agent.errors import Unavailable

LOG = logging.getLogger(__name__)

SYSTEM_SOCKETS: Final = (
    Path("/run/libvirt/libvirt-sock-ro"),
    Path("/run/libvirt/virtqemud-sock-ro"),
)
"""Where the system's libvirtd, or its QEMU part alone, lets everybody read."""

KEEPALIVE: Final = (5, 3)
"""Seconds between probes of a silent peer, and how many may go unanswered."""

PATIENCE: Final = 30.0
"""Seconds after which an attempt to open is given up: another daemon may serve the socket now."""

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


class Connection:
    """A connection and the crew that calls over it.

    Args:
        uri: what to open.
        name: of its threads.
        opened: called with each new virConnect, on another thread, to register events; it returns
            the ids of their callbacks.
    """

    def __init__(
        self, uri: str, name: str, opened: Callable[[Any], list[int]] | None = None
    ) -> None:
        self.uri = uri
        self._name = name
        self._crew = Crew(name)
        self._opened = opened
        self._handle: Any = None
        self._callbacks: list[int] = []
        self._opening: Opening | None = None
        self._began = 0.0
        self._pause = Pause()
        self._fault = ""

    @property
    def alive(self) -> bool:
        """Whether it is open, and its peer there as far as is known."""
        try:
            return bool(self._handle is not None and self._handle.isAlive())
        except libvirt.libvirtError:
            return False

    def get(self, deadline: float) -> Any:
        """Return the open virConnect, opening it if need be before `deadline` (CLOCK_MONOTONIC).

        An attempt that does not end goes on, and the next call takes up what comes of it, until it
        is given up. There are pauses after attempts that cost something.

        Raises:
            Unavailable: the hypervisor does not answer, in words for operators.
        """
        if self.alive:
            return self._handle
        self._drop()
        if self._opening is None:
            self._opening = self._begin(time.monotonic())
        try:
            self._handle, self._callbacks = self._opening.result(deadline)
        except DeadlinePassed:
            now = time.monotonic()
            if now - self._began > PATIENCE:
                self._opening.give_up()
                self._opening = None
                self._pause.grow(now)
            self._fault = explain_silence(self.uri)
            raise Unavailable(self._fault) from None
        except libvirt.libvirtError as error:
            self._opening = None
            self._fault = explain(self.uri, error)
            if not is_local(self.uri):  # a unix socket that refuses costs nothing
                self._pause.grow(time.monotonic())
            raise Unavailable(self._fault) from error
        self._opening = None
        self._pause.end()
        # Of several connections to one hypervisor the one with the events tells of it.
        level = logging.DEBUG if self._opened is None else logging.INFO
        LOG.log(level, "connected to libvirt at %s", self.uri)
        return self._handle

    def start(self, function: Callable[..., Any], *args: Any) -> Call:
        """Begin a call over this connection."""
        return self._crew.start(function, *args)

    def lost(self, error: libvirt.libvirtError, handle: Any) -> None:
        """Drop the connection if the error of a call over `handle` means that it is gone."""
        if handle is self._handle and (is_gone(error) or not self.alive):
            self._drop()

    def close(self) -> None:
        """Forget the connection; a close that blocks keeps nobody waiting."""
        self._drop()
        if self._opening is not None:
            self._opening.give_up()
            self._opening = None
        self._crew.close()

    def _drop(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            close_later(handle, self._callbacks)

    def _begin(self, now: float) -> Opening:
        if self._pause.left(now):
            raise Unavailable(self._fault)
        opening = Opening.begin(
            self._name, lambda: open_read_only(self.uri, KEEPALIVE, self._opened)
        )
        if opening is None:
            # Each of those under way ends when the daemon answers or ends.
            raise Unavailable(explain_silence(self.uri))
        self._began = now
        return opening


def is_gone(error: libvirt.libvirtError) -> bool:
    """Tell whether an error of a call is one of the connection, not of what was asked."""
    return error.get_error_domain() in (libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE)
