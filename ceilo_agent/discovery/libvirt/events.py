# SPDX-License-Identifier: Apache-2.0
"""libvirt's event loop: it carries events and the keepalive of all connections of the process."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any, Final

import libvirt

LOG = logging.getLogger(__name__)

PAUSE: Final = 1.0
"""Seconds after a fault of the loop."""

_started = threading.Lock()
_runs = False


def start_event_loop() -> None:
    """Run libvirt's event loop on a daemon thread, once per process and before connections open."""
    global _runs  # noqa: PLW0603 - libvirt's loop is one per process, too
    with _started:
        if _runs:
            return
        libvirt.registerErrorHandler(_log_error, None)
        libvirt.virEventRegisterDefaultImpl()
        threading.Thread(target=_run, name="libvirt-events", daemon=True).start()
        _runs = True


def _run() -> None:
    while True:
        try:
            libvirt.virEventRunDefaultImpl()
        except libvirt.libvirtError as error:
            # Without it no event and no dead peer would be noticed any more.
            LOG.warning("libvirt's event loop: %s", error)
            time.sleep(PAUSE)


def _log_error(_context: object, error: tuple[Any, ...]) -> None:
    """Keep libvirt from printing each error on standard error; who called gets it as well."""
    LOG.debug("libvirt: %s", error[2])
