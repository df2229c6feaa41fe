# SPDX-License-Identifier: Apache-2.0
"""What goes when a store grows too old or too large, a slice per batch so that none stalls."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final, NamedTuple

from ceilo_agent.store.connection import PAGE_BYTES, sidecar

SLICE_ROWS: Final = 2_000
"""Deleted at once besides twice the batch's own number, so that deleting outruns appending."""
VACUUM_PAGES: Final = 256
"""Given back to the file system at once, at most."""
SAMPLE_BYTES: Final = 40
"""About what a sample takes in the file, and in the log before that."""


LOG_SECONDS: Final = 0.1
"""What a batch may wait at most for readers, when the log has grown."""


class Trimmed(NamedTuple):
    """How many samples went, for which reason."""

    by_age: int
    by_bytes: int


def log_bytes(max_bytes: int) -> int:
    """Return the size of the write-ahead log that suits a store of a size: 4 MB at most."""
    return min(1000, max(16, max_bytes // (8 * PAGE_BYTES))) * PAGE_BYTES


class Retention:
    """Bounds one store.

    Args:
        path: the store's file.
        max_age: seconds that samples stay.
        max_bytes: bytes of the file and its write-ahead log.
    """

    def __init__(self, path: Path, max_age: float, max_bytes: int) -> None:
        self._wal = sidecar(path, "-wal")
        self._max_age = int(max_age * 1e6)
        self._max_bytes = max_bytes
        log = log_bytes(max_bytes)
        # To give a page back moves another one, through the log.
        self._vacuum_pages = min(VACUUM_PAGES, log // PAGE_BYTES // 2)
        self._reserve = log + self._vacuum_pages * (PAGE_BYTES + 24)

    def trim(self, db: sqlite3.Connection, now: int, coming: int) -> Trimmed:
        """Delete a slice of what is too old or too much, inside the caller's transaction.

        Args:
            db: the store.
            now: microseconds, UTC.
            coming: how many samples are about to be appended.
        """
        (oldest,) = db.execute("SELECT min(time) FROM sample").fetchone()
        if oldest is None:
            return Trimmed(0, 0)
        free, pages = _pages(db)
        full = (pages - free) * PAGE_BYTES + coming * SAMPLE_BYTES > self._room(coming)
        cutoff = now - self._max_age
        if oldest >= cutoff and not full:
            return Trimmed(0, 0)
        edge = _edge(db, 2 * coming + SLICE_ROWS)
        by_age = by_bytes = 0
        if oldest < cutoff:
            by_age = _delete(db, min(edge or (cutoff, 0), (cutoff, 0)))
        if full and not by_age:
            # A store that one batch fills keeps at least as much as comes.
            edge = edge or _edge(db, coming)
            by_bytes = _delete(db, edge) if edge else 0
        return Trimmed(by_age, by_bytes)

    def shrink(self, db: sqlite3.Connection) -> None:
        """Give a slice of the free pages back, if the file is too large or mostly empty."""
        free, pages = _pages(db)
        idle = free > VACUUM_PAGES and free > pages // 4
        if idle or (free and pages * PAGE_BYTES > self._room(0)):
            # As a script it runs to its end; `execute` would move one page only.
            db.executescript(f"PRAGMA incremental_vacuum({self._vacuum_pages})")

    def recycle(self, db: sqlite3.Connection) -> None:
        """Empty a log that readers, one after another, kept from being begun anew.

        Waits for them for at most LOG_SECONDS; they go on reading.
        """
        if self._log() > 3 * self._reserve:
            db.execute(f"PRAGMA busy_timeout = {round(LOG_SECONDS * 1000)}")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _log(self) -> int:
        try:
            return self._wal.stat().st_size
        except OSError:
            return 0

    def _room(self, coming: int) -> int:
        """Return the bytes that the file itself may take beside its log."""
        return self._max_bytes - max(self._log(), self._reserve + coming * SAMPLE_BYTES)


def _edge(db: sqlite3.Connection, rows: int) -> tuple[int, int] | None:
    """Return the key that follows the oldest `rows` samples, None if there are not so many."""
    found: tuple[int, int] | None = db.execute(
        "SELECT time, series FROM sample ORDER BY time, series LIMIT 1 OFFSET ?", (rows,)
    ).fetchone()
    return found


def _delete(db: sqlite3.Connection, before: tuple[int, int]) -> int:
    return db.execute("DELETE FROM sample WHERE (time, series) < (?, ?)", before).rowcount


def _pages(db: sqlite3.Connection) -> tuple[int, int]:
    (free,) = db.execute("PRAGMA freelist_count").fetchone()
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    return free, pages
