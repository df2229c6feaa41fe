# SPDX-License-Identifier: Apache-2.0
"""Messages that could not be taken: kept on disk, bounded, to be looked at and tried again."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import zstandard

from ceilo_agent.notification import letterfile
from ceilo_agent.notification.intake import Letter
from ceilo_agent.notification.letterfile import COLUMNS, DROPPED, FILE, VALUES, Kept

LOG = logging.getLogger(__name__)

AT_ONCE: Final = 1000
"""Letters that are taken over in one transaction."""


class Letters:
    """The letters of one worker. Any thread may call it.

    The file is made with the first letter.

    Args:
        directory: of the worker.
        max_bytes: of all of them; the oldest go first.
        fsync: what was put outlives a loss of power, not only the end of the process.
    """

    def __init__(self, directory: Path, max_bytes: int, *, fsync: bool = False) -> None:
        self.path = directory / FILE
        self._max_bytes = max_bytes
        self._synchronous = "FULL" if fsync else "NORMAL"
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None
        self._bytes = 0

    def put(self, letters: Sequence[Letter]) -> None:
        """Write letters; to return means that they are on disk.

        Raises:
            OSError, sqlite3.Error: they are not, for now.
        """
        if not letters:
            return
        compressor = zstandard.ZstdCompressor(level=3)
        rows = [letterfile.to_row(letter, compressor) for letter in letters]
        with self._writing() as db:
            self._add(db, rows)
            for letter in letters:
                letterfile.add(db, letter.reason.value, 1)

    def take_over(self, path: Path) -> int:
        """Make the letters of a worker that is no more our own; return how many there were.

        Interrupted at the wrong moment it takes some of them twice.

        Raises:
            OSError, sqlite3.Error: not all of them could be taken.
        """
        count = 0
        with contextlib.closing(letterfile.existing(path)) as other:
            for reason, number in other.execute("SELECT reason, count FROM total").fetchall():
                with self._writing() as db:
                    letterfile.add(db, reason, number)
                other.execute("DELETE FROM total WHERE reason = ?", (reason,))
            while rows := other.execute(
                f"SELECT {VALUES}, again, number FROM letter ORDER BY number LIMIT ?",  # noqa: S608
                (AT_ONCE,),
            ).fetchall():
                with self._writing() as db:
                    self._add(db, [row[:-1] for row in rows])
                other.execute("DELETE FROM letter WHERE number <= ?", (rows[-1][-1],))
                count += len(rows)
        return count

    def again(self, most: int = 100) -> list[Kept]:
        """Return letters that are to be tried again."""
        if not self.path.exists():
            return []
        with self._lock:
            rows = self._open().execute(
                f"SELECT {COLUMNS} FROM letter WHERE again ORDER BY number LIMIT ?",  # noqa: S608
                (most,),
            )
            return [letterfile.from_row(row) for row in rows]

    def settle(self, numbers: Sequence[int]) -> None:
        """Delete letters: they were taken, or set aside once more."""
        with self._writing() as db:
            db.executemany("DELETE FROM letter WHERE number = ?", [(n,) for n in numbers])
            self._bytes = letterfile.size(db)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None

    def _add(self, db: sqlite3.Connection, rows: Sequence[Sequence[Any]]) -> None:
        db.executemany(letterfile.INSERT, rows)
        self._bytes += sum(row[-2] for row in rows)
        if self._bytes > self._max_bytes:
            self._make_room(db)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            db = self._open()
            try:
                db.execute("BEGIN IMMEDIATE")
                yield db
                db.execute("COMMIT")
            except BaseException as error:
                with contextlib.suppress(sqlite3.Error):
                    db.execute("ROLLBACK")
                if letterfile.is_damage(error):
                    self._set_aside(error)
                else:
                    with contextlib.suppress(sqlite3.Error):
                        self._bytes = letterfile.size(db)
                raise

    def _open(self) -> sqlite3.Connection:
        if self._db is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._db = self._connect()
            except sqlite3.DatabaseError as error:
                if not letterfile.is_damage(error):
                    raise
                self._set_aside(error)
                self._db = self._connect()
        return self._db

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(
            self.path,
            isolation_level=None,
            timeout=letterfile.BUSY_SECONDS,
            check_same_thread=False,
        )
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute(f"PRAGMA synchronous = {self._synchronous}")
            if not db.execute("PRAGMA user_version").fetchone()[0]:
                db.executescript(f"BEGIN; {letterfile.SCHEMA} COMMIT;")
            letterfile.check(db)
            self._bytes = letterfile.size(db)
        except BaseException:
            db.close()
            raise
        return db

    def _set_aside(self, error: BaseException) -> None:
        """Begin anew beside a file that is damaged."""
        if self._db is not None:
            self._db.close()
            self._db = None
        place = self.path.with_name(f"{FILE}.{time.time():.0f}.damaged")
        LOG.error("%s is damaged (%s): it is kept as %s", self.path, error, place.name)
        self.path.replace(place)
        for end in ("-wal", "-shm"):
            self.path.with_name(FILE + end).unlink(missing_ok=True)

    def _make_room(self, db: sqlite3.Connection) -> None:
        """Drop the oldest until a tenth of the room is free."""
        excess, freed, last, dropped = self._bytes - self._max_bytes * 9 // 10, 0, 0, 0
        for number, size in db.execute("SELECT number, size FROM letter ORDER BY number"):
            if freed >= excess:
                break
            freed, last, dropped = freed + size, number, dropped + 1
        db.execute("DELETE FROM letter WHERE number <= ?", (last,))
        letterfile.add(db, DROPPED, dropped)
        self._bytes -= freed
        told = "%s is full: the oldest %d messages that could not be read are dropped"
        LOG.warning(told, self.path, dropped)


class Shelf:
    """The letters of one worker, looked at and marked from outside of its agent.

    Raises:
        OSError, sqlite3.Error: the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._db = letterfile.existing(path)

    def totals(self) -> Mapping[str, int]:
        """Return how many there ever were, by reason, and how many were dropped."""
        return dict(self._db.execute("SELECT reason, count FROM total ORDER BY reason").fetchall())

    def kept(self) -> Mapping[str, int]:
        """Return how many there are, by reason."""
        found = self._db.execute("SELECT reason, count(*) FROM letter GROUP BY reason")
        return dict(found.fetchall())

    def letters(self, most: int = -1, number: int | None = None) -> Iterator[Kept]:
        """Yield the newest, the oldest of them first; or the one of a number."""
        where, values = ("WHERE number = ?", [number]) if number is not None else ("", [])
        rows = self._db.execute(
            f"SELECT * FROM (SELECT {COLUMNS} FROM letter {where}"  # noqa: S608 - our own words
            " ORDER BY number DESC LIMIT ?) ORDER BY number",
            (*values, most),
        )
        yield from map(letterfile.from_row, rows)

    def replay(self, number: int | None = None) -> int:
        """Have letters tried again by their agent; return how many."""
        return self._change("UPDATE letter SET again = 1", number)

    def discard(self, number: int | None = None) -> int:
        """Delete letters; return how many."""
        return self._change("DELETE FROM letter", number)

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def _change(self, statement: str, number: int | None) -> int:
        if number is None:
            return self._db.execute(statement).rowcount
        return self._db.execute(f"{statement} WHERE number = ?", (number,)).rowcount
