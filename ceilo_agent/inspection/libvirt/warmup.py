# SPDX-License-Identifier: Apache-2.0
"""What a libvirtd that was just started has to find out first: what this host can do.

It does so when somebody needs it, and each who needs it meanwhile has it done once more: it starts
QEMU to ask it, and that may take seconds. A bulk call that needs it (for CPU times and for memory
bandwidth) holds its guest all the while, and with it every listing. virNodeGetSecurityModel needs
it too and holds nobody, so it is called first, over a connection of its own.
"""

from __future__ import annotations

import contextlib
import threading
from typing import Any, Final

import libvirt

from ceilo_agent.discovery.libvirt.calls import Call
from ceilo_agent.errors import Unavailable

NEEDY: Final = libvirt.VIR_DOMAIN_STATS_CPU_TOTAL | getattr(libvirt, "VIR_DOMAIN_STATS_MEMORY", 0)
"""The groups of the bulk call that need to know what the host can do."""


class Warmup:
    """Has a libvirtd find out, at most once at a time."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._call: Call | None = None

    @property
    def cold(self) -> bool:
        """Whether libvirtd is still finding out; `NEEDY` groups must not be asked for."""
        return self._call is not None and not self._call.done

    def begin(self, deadline: float) -> None:
        """Have it find out, and wait for it until `deadline` (CLOCK_MONOTONIC)."""
        if not self.cold:
            self._call = Call(_ask, (self._uri,))
            threading.Thread(target=self._call.run, name="libvirt-warmup", daemon=True).start()
        assert self._call is not None
        # A driver that knows no security models has nothing to find out.
        with contextlib.suppress(Unavailable, libvirt.libvirtError):
            self._call.result(deadline, give_up=False)


def _ask(uri: str) -> None:
    handle: Any = libvirt.openReadOnly(uri)
    try:
        handle.getSecurityModel()
    finally:
        handle.close()
