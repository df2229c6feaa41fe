# SPDX-License-Identifier: Apache-2.0
"""A state file that never stops a batch: what is wrong with it is told, and goes into memory only.

A damaged file is set aside as ``<path>.<time>.damaged``, and a new one is begun.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from ceilo_agent.pipeline.statefile import LOCK_SECONDS, Damaged, StateFile, is_damage

LOG = logging.getLogger(__name__)

RETRY_SECONDS: Final = 10.0
"""A file that could not be written is tried again after this long."""


class SafeFile:
    """Opens a state file when there is something to do with it.

    Args:
        path: the file.
        clock: gives UTC seconds.
        monotonic: gives seconds.

    Attributes:
        behind: whether the file lacks something that happened: it needs the whole state.
        damaged: files and parts of them that were of no use.
    """

    def __init__(
        self, path: Path, clock: Callable[[], float], monotonic: Callable[[], float]
    ) -> None:
        self.path = path
        self.behind = False
        self.damaged = 0
        self._clock = clock
        self._monotonic = monotonic
        self._file: StateFile | None = None
        self._retry_at = 0.0
        self._fault: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether this process holds the file."""
        return self._file is not None

    @property
    def may_try(self) -> bool:
        """Whether the last failure is long enough ago."""
        return self._monotonic() >= self._retry_at

    def may_exist(self) -> bool:
        """Return whether there is something at the path, as far as that can be told."""
        try:
            return self.path.exists()
        except OSError:
            return True

    def attempt(self, work: Callable[[StateFile], None]) -> bool:
        """Do something with the file; return whether it was done."""
        try:
            if self._file is None:
                # Samples wait for the lock: only at the start that is worth their time.
                self._file = StateFile(self.path, 0.0 if self.behind else LOCK_SECONDS)
            work(self._file)
        except Damaged as error:
            self._set_aside(str(error))
        except sqlite3.Error as error:
            if is_damage(error):
                self._set_aside(str(error))
            else:
                self._fail(str(error))
        except OSError as error:
            self._fail(error.strerror or str(error))
        except Exception as error:  # a transformer's own: it cannot be dumped
            LOG.exception("%s: a step cannot be dumped", self.path)
            self._fail(f"{type(error).__name__}: {error}")
        else:
            return True
        return False

    def caught_up(self) -> None:
        """Note that the file holds the whole state."""
        if self._fault is not None:
            LOG.info("%s: the state of the pipeline's steps is kept again", self.path)
        self.behind, self._retry_at, self._fault = False, 0.0, None

    def keep_aside(self, data: bytes) -> Path:
        """Write a damaged part to a file of its own, if that is possible; return its path."""
        self.damaged += 1
        place = self._place()
        with contextlib.suppress(OSError):
            place.write_bytes(data)
        return place

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _fail(self, fault: str) -> None:
        if fault != self._fault:
            LOG.warning(
                "%s: the state of the pipeline's steps is not kept over a restart: %s",
                self.path,
                fault,
            )
        self._fault = fault
        self.behind, self._retry_at = True, self._monotonic() + RETRY_SECONDS

    def _set_aside(self, reason: str) -> None:
        """Rename the file and what belongs to it; the next attempt begins a new one."""
        self.damaged += 1
        place = self._place()
        try:
            for suffix in ("-wal", "-shm", ""):
                with contextlib.suppress(FileNotFoundError):
                    Path(f"{self.path}{suffix}").rename(f"{place}{suffix}")
        except OSError as error:
            self._fail(f"it is damaged and cannot be set aside: {error.strerror}")
            return
        finally:
            # Only now: to close it would write the log into the file and delete it.
            self.close()
        self.behind, self._retry_at = True, 0.0
        LOG.warning("%s is damaged (%s): set aside as %s", self.path, reason, place)

    def _place(self) -> Path:
        stamp = datetime.fromtimestamp(self._clock(), UTC).strftime("%Y%m%dT%H%M%SZ")
        place, number = Path(f"{self.path}.{stamp}.damaged"), 1
        while place.exists():
            number += 1
            place = Path(f"{self.path}.{stamp}-{number}.damaged")
        return place
