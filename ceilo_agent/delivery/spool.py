# SPDX-License-Identifier: Apache-2.0
"""The durable logs below the spool directory, looked at from outside of their agents.

It only reads, whether an agent has the log open or not: one SQLite snapshot, and no
file is made or changed.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, TypeVar
from urllib.parse import quote

from ceilo_agent.delivery import entries
from ceilo_agent.delivery.rows import cost
from ceilo_agent.delivery.schema import (
    APPLICATION,
    DISCARD,
    DISCARDED,
    FILE,
    LOCK,
    REPLAY,
    SALVAGE,
    TAKEN_OVER,
    VERSION,
)
from ceilo_agent.errors import CeiloAgentError
from ceilo_agent.sample import Sample

Made = TypeVar("Made")

TRIES: Final = 5
"""How often a log is opened: an agent that starts or ends exchanges files beside it."""

BUSY_SECONDS: Final = 10.0
"""How long an agent that has the file for itself is waited for."""

BROKEN: Final = (sqlite3.Error, UnicodeDecodeError)
"""What SQLite raises of a damaged file; the second where its own message repeats damaged text."""


class Unreadable(CeiloAgentError):
    """A directory or a log that cannot be read; the message names it and says why."""


class Place(NamedTuple):
    """The directory of one worker's log."""

    directory: Path

    @property
    def name(self) -> str:
        """Agent and worker, ``polling/0``; one that is taken over is ``polling/0/from-1``."""
        parts = self.directory.parts
        return "/".join(parts[-3 if self.is_taken_over else -2 :])

    @property
    def agent(self) -> str:
        """The agent that has it."""
        return self.directory.parts[-3 if self.is_taken_over else -2]

    @property
    def is_taken_over(self) -> bool:
        """Whether another worker is about to take over what waits in it."""
        return self.directory.name.startswith(TAKEN_OVER)

    @property
    def file(self) -> Path:
        """The log."""
        return self.directory / FILE

    def damaged(self) -> list[Path]:
        """Return the files that were set aside since they were damaged, the oldest first."""
        return sorted(self.directory.glob(f"{FILE}.*.damaged"))

    def wounded(self) -> list[Path]:
        """Return the damaged files of which not everything is saved yet."""
        found = self.directory.glob(f"{SALVAGE}*")
        return sorted(path for path in found if not path.name.endswith("-wal"))

    def holder(self) -> int | None:
        """Return the process that has the log, None if none has.

        The lock is looked up, not tried: to hold it for a moment could keep an agent from starting.
        """
        path = (self.directory.parent if self.is_taken_over else self.directory) / LOCK
        try:
            there = path.stat()
            written = path.read_text("ascii", "replace").strip()
            table = Path("/proc/locks").read_text("ascii")
        except OSError:
            return None
        device = f"{os.major(there.st_dev):02x}:{os.minor(there.st_dev):02x}"
        for line in table.splitlines():
            # "1: FLOCK  ADVISORY  WRITE 4711 fe:01:393221 0 EOF", see proc_locks(5)
            words = line.split()
            if len(words) < 6 or words[1] != "FLOCK":
                continue
            where, _, inode = words[5].rpartition(":")
            # Some file systems show another device here than stat() does.
            if inode == str(there.st_ino) and (where == device or words[4] == written):
                return int(words[4])
        return None


class Standing(NamedTuple):
    """Where one publisher of a log stands, in samples where nothing else is said.

    Attributes:
        publisher: its name.
        waiting: to be delivered.
        size: bytes on disk of the rows that hold them; publishers of one sink share rows.
        since: when the oldest of them was offered, UTC seconds; None when nothing waits.
        set_aside: refused by the other side, and kept.
        marked: those of them that are to be sent again.
        discarded: those of them that are to be dropped; `discarded_waiting`: of those that wait.
        offered, delivered, dropped: since the publisher was first seen.
        seen: when it was last one of the pipeline file's, UTC seconds.
        fault: why it could not deliver when that was last tried, None if it could.
    """

    publisher: str
    waiting: int
    size: int
    since: float | None
    set_aside: int
    marked: int
    discarded: int
    discarded_waiting: int
    offered: int
    delivered: int
    dropped: int
    seen: float
    fault: str | None


class Kept(NamedTuple):
    """Samples of one row.

    Attributes:
        number: of the row among those set aside; 0 for what waits.
        at: when they were offered or set aside, UTC seconds.
        reason: why they were set aside, empty for what waits.
        marked: they are to be sent again, or are on the way.
        samples: in order.
        discarded: they are to be dropped.
    """

    number: int
    at: float
    reason: str
    marked: bool
    samples: Sequence[Sample]
    discarded: bool = False


def places(spool_dir: Path) -> list[Place]:
    """Return every directory below it that holds a log or what is left of one, by name.

    Raises:
        Unreadable: the directory may not be looked at.
    """
    try:
        found = [
            Place(directory)
            for agent in _directories(spool_dir)
            for worker in _directories(agent)
            for directory in (worker, *_directories(worker))
        ]
        return [p for p in found if p.file.exists() or p.damaged() or p.wounded()]
    except OSError as error:
        raise Unreadable(f"{error.filename}: {error.strerror}") from error


def _directories(path: Path) -> list[Path]:
    """Return the directories in a directory, none if it is not there; numbers by their value."""
    if not path.exists():
        return []
    found = [entry for entry in path.iterdir() if entry.is_dir()]
    return sorted(found, key=lambda entry: (len(entry.name), entry.name))


class Reader:
    """A snapshot of a log.

    Raises:
        Unreadable: it is not there, is damaged, or may not be read.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self._db = patiently(place, lambda: _snapshot(place.file))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it."""
        self._db.close()

    def rows(self, statement: str, *values: object) -> Iterator[Any]:
        """Yield what a statement gives.

        Raises:
            Unreadable: the file is damaged.
        """
        try:
            yield from self._db.execute(statement, values)
        except BROKEN as error:
            raise _unreadable(self.place, error) from error

    def standings(self) -> list[Standing]:
        """Return where each publisher stands, by name."""
        rows = self.rows(
            "SELECT id, name, seq, done, offered, delivered, set_aside, dropped, seen, fault"
            " FROM publisher ORDER BY name"
        )
        return [self._standing(*row) for row in rows]

    def _standing(
        self, number: int, name: str, seq: int, done: int,
        offered: int, delivered: int, set_aside: int, dropped: int, seen: float,
        fault: str | None,
    ) -> Standing:  # fmt: skip
        ((count, size, since),) = self.rows(
            "SELECT total(count), total(size), min(at) FROM log"
            " WHERE seq >= ? AND audience IN (SELECT audience FROM member WHERE publisher = ?)",
            seq, number,
        )  # fmt: skip
        ((marked, discarded),) = self.rows(
            "SELECT total(count * (replay = ?)), total(count * (replay = ?)) FROM aside"
            " WHERE publisher = ?", REPLAY, DISCARD, number,
        )  # fmt: skip
        ((dropped_soon,),) = self.rows(
            "SELECT total(count) FROM log WHERE seq BETWEEN ? AND"
            " (SELECT seq FROM taken_over WHERE directory = ?)"
            " AND audience IN (SELECT audience FROM member WHERE publisher = ?)",
            seq, f"{DISCARDED}{number}", number,
        )  # fmt: skip
        leaving = int(dropped_soon) - (done if dropped_soon else 0)
        waiting = int(count) - (done if count else 0)
        return Standing(
            name, waiting, int(size) if waiting else 0, since if waiting else None,
            set_aside, int(marked), int(discarded), leaving,
            offered, delivered, dropped, seen, fault,
        )  # fmt: skip

    def bytes(self) -> int:
        """Return what all rows cost, as the agent counts it against `max_bytes`."""
        ((size, rows),) = self.rows(
            "SELECT total(size), count(*) FROM (SELECT size FROM log"
            " UNION ALL SELECT length(samples) FROM aside)"
        )
        return cost(int(size), rows)

    def waiting(self, publisher: str) -> Iterator[Kept]:
        """Yield what waits for a publisher, in its order.

        Raises:
            ValueError: a row is damaged.
        """
        for first, done, samples, *row in self.rows(
            # The + keeps SQLite from sorting the rows, samples and all: they are in order.
            "SELECT publisher.seq, done, samples, log.seq, audience, at, count, again"
            " FROM publisher CROSS JOIN log"
            " WHERE name = ? AND log.seq >= publisher.seq AND +audience IN"
            " (SELECT audience FROM member WHERE member.publisher = publisher.id)"
            " ORDER BY log.seq",
            publisher,
        ):
            seq, _, at, _, again = row
            found = entries.decompress(entries.open_row(samples, *row))
            yield Kept(0, at, "", bool(again), found[done:] if seq == first else found)

    def aside(self, publisher: str) -> Iterator[Kept]:
        """Yield what of a publisher was set aside, in its order.

        Raises:
            ValueError: a row is damaged.
        """
        for samples, replay, *row in self.rows(
            "SELECT samples, replay, number, publisher, at, reason, count FROM aside"
            " WHERE publisher = (SELECT id FROM publisher WHERE name = ?) ORDER BY number",
            publisher,
        ):
            number, _, at, reason, _ = row
            found = entries.decompress(entries.open_aside(samples, *row))
            yield Kept(number, at, reason, replay == REPLAY, found, replay == DISCARD)

    def counts(self, publisher: str) -> dict[int, tuple[int, int]]:
        """Return how many samples each row set aside has, and its mark, by number."""
        return {
            number: (count, replay)
            for number, count, replay in self.rows(
                "SELECT number, count, replay FROM aside"
                " WHERE publisher = (SELECT id FROM publisher WHERE name = ?) ORDER BY number",
                publisher,
            )
        }


def _snapshot(path: Path) -> sqlite3.Connection:
    """Open a log for reading and begin a snapshot of it; no file is made or changed.

    The file is opened by SQLite alone: in an agent's own process, closing another descriptor of it
    would drop the locks that SQLite holds.
    """
    wal, shm = Path(f"{path}-wal"), Path(f"{path}-shm")
    if not path.exists():
        raise FileNotFoundError(2, "it is not there", str(path))
    if not wal.exists():
        # Closed in order. To open it as a database in WAL mode would make its log.
        mode = "mode=ro&immutable=1"
    elif shm.exists():
        mode = "mode=ro&readonly_shm=1"
    elif wal.stat().st_size:
        raise FileNotFoundError(2, f"{shm.name}, which belongs to it, is missing", str(path))
    else:
        mode = "mode=ro&immutable=1"
    uri = f"file:{quote(str(path.absolute()))}?{mode}"
    db = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_SECONDS)
    try:
        db.execute("BEGIN")
        _check_kind(db)
    except BaseException:
        db.close()
        raise
    return db


def _check_kind(db: sqlite3.Connection) -> None:
    """Refuse a file that is something else, or of another version."""
    (kind,) = db.execute("PRAGMA application_id").fetchone()
    if kind != APPLICATION:
        raise sqlite3.DatabaseError("it is no log of this agent")
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version != VERSION:
        raise sqlite3.DatabaseError(f"it is of version {version}, {VERSION} was expected")


def patiently(place: Place, work: Callable[[], Made]) -> Made:
    """Do something with a log, once more where an agent that starts or ends came between."""
    for left in reversed(range(TRIES)):
        try:
            return work()
        except (OSError, *BROKEN) as error:
            if isinstance(error, PermissionError) or not left:
                raise _unreadable(place, error) from error
            time.sleep(0.05)
    raise AssertionError


def _unreadable(place: Place, error: Exception) -> Unreadable:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else error
    return Unreadable(f"{place.file} cannot be read: {reason}")
