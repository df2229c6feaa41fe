# SPDX-License-Identifier: Apache-2.0
"""Messages that could not be taken: kept on disk, bounded, to be looked at and tried again.

A SQLite file of its own in the worker's directory: ``letters.db``, ``application_id`` 0x63654C74
(``ceLt``), ``user_version`` 1. `letter` has a row for each: when it came, why it was not taken,
what was said of it, and its payload as JSON, compressed (Zstandard). `total` counts all there ever
were, by reason, and those that were dropped for want of room.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import msgspec
import zstandard

from ceilo_agent.messaging.message import Message
from ceilo_agent.notification.intake import Letter, as_json

LOG = logging.getLogger(__name__)

FILE: Final = "letters.db"
APPLICATION: Final = 0x63654C74
VERSION: Final = 1

DROPPED: Final = "dropped"
"""In `total`: those that went to make room."""

MAX_BODY: Final = 256 << 20
"""Bytes of a payload that are read again."""

BUSY_SECONDS: Final = 10.0

_SCHEMA: Final = f"""
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
CREATE TABLE letter (
    number INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, reason TEXT NOT NULL,
    words TEXT NOT NULL, topic TEXT NOT NULL, publisher_id TEXT NOT NULL,
    event_type TEXT NOT NULL, id TEXT NOT NULL, timestamp TEXT NOT NULL, body BLOB NOT NULL,
    again INTEGER NOT NULL DEFAULT 0);
CREATE INDEX letter_again ON letter (again) WHERE again;
CREATE TABLE total (reason TEXT PRIMARY KEY, count INTEGER NOT NULL);
"""
_COLUMNS: Final = "number, at, reason, words, topic, publisher_id, event_type, id, timestamp, body"


class Kept(NamedTuple):
    """A letter in the file.

    Attributes:
        number: of the letter.
        at: when it was set aside, UTC seconds.
        reason: why; `words`: for people.
        message: as it came.
        size: bytes that it takes in the file.
    """

    number: int
    at: float
    reason: str
    words: str
    message: Message
    size: int


class Letters:
    """The letters of one worker. Any thread may call it.

    The file is made with the first letter.

    Args:
        directory: of the worker.
        max_bytes: of all payloads; the oldest go first.
    """

    def __init__(self, directory: Path, max_bytes: int) -> None:
        self.path = directory / FILE
        self._max_bytes = max_bytes
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
        bodies = [compressor.compress(as_json(letter.message.payload)) for letter in letters]
        rows = [
            (time.time(), letter.reason.value, _clean(letter.words)[:2000], *_texts(letter.message))
            for letter in letters
        ]
        with self._writing() as db:
            db.executemany(
                f"INSERT INTO letter ({_COLUMNS.partition(', ')[2]})"  # noqa: S608 - our own
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [(*row, body) for row, body in zip(rows, bodies, strict=True)],
            )
            for letter in letters:
                _count(db, letter.reason.value, 1)
            self._bytes += sum(map(len, bodies))
            if self._bytes > self._max_bytes:
                self._make_room(db)

    def again(self, most: int = 100) -> list[Kept]:
        """Return letters that are to be tried again."""
        if not self.path.exists():
            return []
        with self._lock:
            rows = self._open().execute(
                f"SELECT {_COLUMNS} FROM letter WHERE again ORDER BY number LIMIT ?",  # noqa: S608
                (most,),
            )
            return [_kept(row) for row in rows]

    def settle(self, numbers: Sequence[int]) -> None:
        """Delete letters: they were taken, or set aside once more."""
        with self._writing() as db:
            db.executemany("DELETE FROM letter WHERE number = ?", [(n,) for n in numbers])
            self._bytes = _size(db)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None

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
                if _is_damage(error):
                    self._set_aside(error)
                else:
                    with contextlib.suppress(sqlite3.Error):
                        self._bytes = _size(db)
                raise

    def _open(self) -> sqlite3.Connection:
        if self._db is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._db = self._connect()
            except sqlite3.DatabaseError as error:
                if not _is_damage(error):
                    raise
                self._set_aside(error)
                self._db = self._connect()
        return self._db

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(
            self.path, isolation_level=None, timeout=BUSY_SECONDS, check_same_thread=False
        )
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            if not db.execute("PRAGMA user_version").fetchone()[0]:
                db.executescript(f"BEGIN; {_SCHEMA} COMMIT;")
            _check(db)
            self._bytes = _size(db)
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
        for number, size in db.execute("SELECT number, length(body) FROM letter ORDER BY number"):
            if freed >= excess:
                break
            freed, last, dropped = freed + size, number, dropped + 1
        db.execute("DELETE FROM letter WHERE number <= ?", (last,))
        _count(db, DROPPED, dropped)
        self._bytes -= freed
        told = "%s is full: the oldest %d messages that could not be read are dropped"
        LOG.warning(told, self.path, dropped)


class Shelf:
    """The letters of one worker, looked at and marked from outside of its agent.

    Raises:
        OSError, sqlite3.Error: the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        uri = f"file:{quote(str(path.absolute()))}?mode=rw"
        self._db = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_SECONDS)
        _check(self._db)

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
            f"SELECT * FROM (SELECT {_COLUMNS} FROM letter {where}"  # noqa: S608 - our own words
            " ORDER BY number DESC LIMIT ?) ORDER BY number",
            (*values, most),
        )
        yield from map(_kept, rows)

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


def _kept(row: Sequence[Any]) -> Kept:
    number, at, reason, words, topic, publisher, event_type, identity, timestamp, body = row
    try:
        payload = msgspec.json.decode(
            zstandard.ZstdDecompressor().decompress(body, max_output_size=MAX_BODY)
        )
    except (zstandard.ZstdError, msgspec.DecodeError, RecursionError):
        payload = None
    message = Message(topic, publisher, event_type, payload, identity, timestamp)
    return Kept(number, at, reason, words, message, len(body))


def _count(db: sqlite3.Connection, reason: str, count: int) -> None:
    db.execute(
        "INSERT INTO total VALUES (?, ?) ON CONFLICT (reason) DO UPDATE SET count = count + ?",
        (reason, count, count),
    )


def _size(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT total(length(body)) FROM letter").fetchone()[0])


def _check(db: sqlite3.Connection) -> None:
    """Refuse a file that is something else, or of another version."""
    (kind,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if (kind, version) != (APPLICATION, VERSION):
        raise sqlite3.DatabaseError("file is not a database of letters")


def _is_damage(error: BaseException) -> bool:
    if not isinstance(error, sqlite3.DatabaseError):
        return False
    code = getattr(error, "sqlite_errorcode", None)
    return code in (None, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) and not isinstance(
        error, sqlite3.IntegrityError | sqlite3.ProgrammingError
    )


def _texts(message: Message) -> list[str]:
    topic, publisher_id, event_type, _, number, timestamp = message
    return [_clean(text) for text in (topic, publisher_id, event_type, number, timestamp)]


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")
