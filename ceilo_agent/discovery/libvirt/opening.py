# SPDX-License-Identifier: Apache-2.0
"""Attempts to open a connection: some never end, and some cost too much to be made each cycle."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable
from typing import Any, Final

import libvirt

from ceilo_agent.discovery.libvirt.calls import Call
from ceilo_agent.discovery.libvirt.events import start_event_loop

MAX_HANGING: Final = 4
"""Attempts of the whole process that may be under way, so that no more can ever hang."""

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 60.0
"""Seconds between attempts that cost something: the first and the longest pause."""

Opened = tuple[Any, list[int]]
"""A virConnect and the ids of its callbacks."""

_under_way: set[Opening] = set()
_lock = threading.Lock()


class Opening:
    """An attempt, on a daemon thread of its own; who gives it up has its late result closed."""

    def __init__(self, open_: Callable[[], Opened]) -> None:
        self.call = Call(open_, ())
        self._given_up = False

    @classmethod
    def begin(cls, name: str, open_: Callable[[], Opened]) -> Opening | None:
        """Begin an attempt; None if too many are under way."""
        made = cls(open_)
        with _lock:
            if len(_under_way) >= MAX_HANGING:
                return None
            _under_way.add(made)
        threading.Thread(target=made._run, name=f"{name}-open", daemon=True).start()
        return made

    def result(self, deadline: float) -> Opened:
        """Wait until `deadline` (CLOCK_MONOTONIC).

        Raises:
            DeadlinePassed: the attempt is still under way.
            libvirt.libvirtError: it failed.
        """
        opened: Opened = self.call.result(deadline, give_up=False)
        return opened

    def give_up(self) -> None:
        """Wait no longer; what comes of it is closed."""
        with _lock:
            self._given_up = True
            late = self not in _under_way
        if late:
            self._close()

    def _run(self) -> None:
        self.call.run()
        with _lock:
            _under_way.discard(self)
            late = self._given_up
        if late:
            self._close()

    def _close(self) -> None:
        with contextlib.suppress(libvirt.libvirtError):
            close_later(*self.result(0.0))


class Pause:
    """The growing time until the next attempt, with jitter: not all hosts ask at one moment."""

    def __init__(self) -> None:
        self._length = 0.0
        self._until = 0.0

    def left(self, now: float) -> bool:
        """Whether it is too early to try again at `now` (CLOCK_MONOTONIC)."""
        return now < self._until

    def grow(self, now: float) -> None:
        """Take note that an attempt that cost something failed."""
        self._length = min(LONGEST_PAUSE, self._length * 2 or FIRST_PAUSE)
        self._until = now + self._length * random.uniform(0.5, 1.0)  # noqa: S311 - no secret

    def end(self) -> None:
        """Take note that there is a connection, or that attempts cost nothing."""
        self._length = self._until = 0.0


def open_read_only(
    uri: str, keepalive: tuple[int, int], opened: Callable[[Any], list[int]] | None
) -> Opened:
    """Open a connection that notices a dead peer.

    Args:
        uri: what to open.
        keepalive: seconds between probes of a silent peer, and how many may go unanswered.
        opened: called with the new virConnect; registers events and returns their callbacks' ids.
    """
    start_event_loop()
    handle = libvirt.openReadOnly(uri)
    with contextlib.suppress(libvirt.libvirtError):  # a driver inside the process has no peer
        handle.setKeepAlive(*keepalive)
    return handle, opened(handle) if opened is not None else []


def close_later(handle: Any, callbacks: list[int]) -> None:
    """Close a connection on a thread of its own: closing speaks to the peer and may block."""
    threading.Thread(target=_close, args=(handle, callbacks), daemon=True).start()


def _close(handle: Any, callbacks: list[int]) -> None:
    """Close a connection. Its callbacks hold it open, here and at the peer, until they are gone."""
    for callback in callbacks:
        with contextlib.suppress(libvirt.libvirtError):
            handle.domainEventDeregisterAny(callback)
    with contextlib.suppress(libvirt.libvirtError):
        handle.close()
