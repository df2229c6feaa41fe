# SPDX-License-Identifier: Apache-2.0
"""What an operator has done to a log from outside of its agent: marks in the file.

The agent that has the log looks for them about every second; without one they wait for its start.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Collection
from typing import Final
from urllib.parse import quote

from ceilo_agent.delivery.schema import DISCARD, DISCARDED, REPLAY
from ceilo_agent.delivery.spool import Made, Place, patiently

BUSY_SECONDS: Final = 10.0
"""How long an agent that is writing is waited for."""


def replay(place: Place, numbers: Collection[int]) -> int:
    """Have rows that were set aside sent again.

    Returns:
        How many rows were marked, and were not before.

    Raises:
        Unreadable: the log cannot be written.
    """
    return _mark(place, numbers, REPLAY)


def discard(place: Place, numbers: Collection[int]) -> int:
    """Have rows that were set aside dropped; returns and raises as `replay`."""
    return _mark(place, numbers, DISCARD)


def discard_waiting(place: Place, publisher: str) -> None:
    """Have what waits for a publisher now dropped, and nothing that comes later.

    Raises:
        Unreadable: the log cannot be written.
    """

    def work(db: sqlite3.Connection) -> None:
        db.execute(
            "INSERT OR REPLACE INTO taken_over SELECT ? || publisher.id, max(log.seq)"
            " FROM publisher JOIN member ON member.publisher = publisher.id"
            " JOIN log USING (audience) WHERE name = ? AND log.seq >= publisher.seq"
            " GROUP BY publisher.id",
            (DISCARDED, publisher),
        )

    _write(place, work)


def _mark(place: Place, numbers: Collection[int], mark: int) -> int:
    def work(db: sqlite3.Connection) -> int:
        return db.executemany(
            "UPDATE aside SET replay = ? WHERE number = ? AND NOT replay",
            [(mark, number) for number in numbers],
        ).rowcount

    return _write(place, work)


def _write(place: Place, work: Callable[[sqlite3.Connection], Made]) -> Made:
    def inside() -> Made:
        uri = f"file:{quote(str(place.file.absolute()))}?mode=rw"
        with contextlib.closing(
            sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_SECONDS)
        ) as db:
            db.execute("BEGIN IMMEDIATE")
            made = work(db)
            db.execute("COMMIT")
            return made

    return patiently(place, inside)
