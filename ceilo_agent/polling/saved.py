# SPDX-License-Identifier: Apache-2.0
"""The last readings on disk, so that a restart of the agent costs no rate.

The file holds the boot id beside them: after a restart of the host the clock that they are timed by
begins anew, and they are of no use.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from ceilo_agent.polling.tracker import Dump, Tracker

LOG = logging.getLogger(__name__)

VERSION: Final = 1
BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class Saved(msgspec.Struct):
    """The file: MessagePack of this."""

    version: int
    boot: str
    sources: dict[str, Dump]


class SavedReadings:
    """The last readings of one namespace.

    Args:
        path: of the file; its directory is made when it lacks.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._boot = boot_id()
        self._fault: str | None = None

    def load(self, trackers: Mapping[str, Tracker]) -> None:
        """Give each tracker what its source remembered, if it is of this boot."""
        try:
            saved = msgspec.msgpack.decode(self.path.read_bytes(), type=Saved)
        except FileNotFoundError:
            return
        except (OSError, msgspec.MsgspecError) as error:
            LOG.warning("%s: last readings cannot be used, rates begin anew: %s", self.path, error)
            return
        if saved.version != VERSION or saved.boot != self._boot:
            LOG.info("%s: last readings are of another boot or version", self.path)
            return
        try:
            for source, dump in saved.sources.items():
                if source in trackers:
                    trackers[source].load(dump)
        except (IndexError, ValueError) as error:
            LOG.warning("%s: last readings cannot be used, rates begin anew: %s", self.path, error)

    def save(self, trackers: Mapping[str, Tracker]) -> None:
        """Write all readings, whole or not at all. A fault is told once and stops nothing."""
        dumps = {source: tracker.dump() for source, tracker in trackers.items()}
        new = self.path.with_suffix(".new")
        try:
            data = msgspec.msgpack.encode(Saved(VERSION, self._boot, dumps))
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
            new.write_bytes(data)
            new.replace(self.path)
        except (OSError, OverflowError) as error:
            if self._fault != str(error):
                LOG.warning("last readings cannot be kept over a restart: %s", error)
            self._fault = str(error)
        else:
            self._fault = None


def boot_id() -> str:
    """Return the id of this boot of the host (proc(5))."""
    try:
        return BOOT_ID.read_text("ascii").strip()
    except OSError:
        # No such file in some containers: readings of another process are then never used.
        return f"process-{os.getpid()}"
