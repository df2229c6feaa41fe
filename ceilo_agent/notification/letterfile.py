# SPDX-License-Identifier: Apache-2.0
"""The file of letters: its tables, and a letter as a row of them.

A SQLite file of its own in the worker's directory: ``letters.db``, ``application_id`` 0x63654C74
(``ceLt``), ``user_version`` 1. `letter` has a row for each: when it came, why it was not taken,
what was said of it, its payload as JSON, compressed (Zstandard), and the bytes that all of this
takes. `total` counts all there ever were, by reason, and those that were dropped for want of room.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import msgspec
import zstandard

from ceilo_agent.messaging.message import Message
from ceilo_agent.notification.intake import Letter

FILE: Final = "letters.db"
APPLICATION: Final = 0x63654C74
VERSION: Final = 1

DROPPED: Final = "dropped"
"""In `total`: those that went to make room."""

MAX_BODY: Final = 256 << 20
"""Bytes of a payload that are read again."""

BUSY_SECONDS: Final = 10.0

MADE_SECONDS: Final = 1.0
"""A file that its worker has begun just now gets its version within this."""

ROW_BYTES: Final = 100
"""What a letter takes beside its payload and its texts, about."""

MAX_TEXT: Final = 1000
"""Letters of each text of a message that are kept: they are meant to be short."""

SCHEMA: Final = f"""
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
CREATE TABLE letter (
    number INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, reason TEXT NOT NULL,
    words TEXT NOT NULL, topic TEXT NOT NULL, publisher_id TEXT NOT NULL,
    event_type TEXT NOT NULL, id TEXT NOT NULL, timestamp TEXT NOT NULL, body BLOB NOT NULL,
    size INTEGER NOT NULL, again INTEGER NOT NULL DEFAULT 0);
CREATE INDEX letter_again ON letter (again) WHERE again;
CREATE TABLE total (reason TEXT PRIMARY KEY, count INTEGER NOT NULL);
"""
VALUES: Final = "at, reason, words, topic, publisher_id, event_type, id, timestamp, body, size"
COLUMNS: Final = f"number, {VALUES}"
INSERT: Final = f"INSERT INTO letter ({VALUES}, again) VALUES ({'?, ' * 10}?)"  # noqa: S608


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


def existing(path: Path) -> sqlite3.Connection:
    """Open a file that is there.

    Raises:
        OSError, sqlite3.Error: it cannot be read.
    """
    uri = f"file:{quote(str(path.absolute()))}?mode=rw"
    db = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_SECONDS)
    try:
        end = time.monotonic() + MADE_SECONDS
        while not _version(db) and time.monotonic() < end:
            time.sleep(0.02)
        check(db)
    except BaseException:
        db.close()
        raise
    return db


def to_row(letter: Letter, compressor: zstandard.ZstdCompressor) -> tuple[Any, ...]:
    """Return the values of a letter in the order of `INSERT`."""
    topic, publisher_id, event_type, payload, number, timestamp = letter.message
    body = compressor.compress(_as_json(payload))
    named = (topic, publisher_id, event_type, number, timestamp)
    texts = [_clean(text)[:MAX_TEXT] for text in named]
    words = _clean(letter.words)[: 2 * MAX_TEXT]
    taken = len(body) + len(words) + sum(map(len, texts)) + ROW_BYTES
    return (time.time(), letter.reason.value, words, *texts, body, taken, 0)


def from_row(row: Sequence[Any]) -> Kept:
    """Return the letter of a row of `COLUMNS`; one whose payload is damaged has None."""
    number, at, reason, words, topic, publisher, event_type, identity, timestamp, body, taken = row
    try:
        payload = msgspec.json.decode(
            zstandard.ZstdDecompressor().decompress(body, max_output_size=MAX_BODY)
        )
    except (zstandard.ZstdError, msgspec.DecodeError, RecursionError):
        payload = None
    message = Message(topic, publisher, event_type, payload, identity, timestamp)
    return Kept(number, at, reason, words, message, taken)


def add(db: sqlite3.Connection, reason: str, count: int) -> None:
    """Count letters that there ever were."""
    db.execute(
        "INSERT INTO total VALUES (?, ?) ON CONFLICT (reason) DO UPDATE SET count = count + ?",
        (reason, count, count),
    )


def size(db: sqlite3.Connection) -> int:
    """Return the bytes of all letters."""
    return int(db.execute("SELECT total(size) FROM letter").fetchone()[0])


def check(db: sqlite3.Connection) -> None:
    """Refuse a file that is something else, or of another version.

    Raises:
        sqlite3.DatabaseError: it is.
    """
    (kind,) = db.execute("PRAGMA application_id").fetchone()
    if (kind, _version(db)) != (APPLICATION, VERSION):
        raise sqlite3.DatabaseError("file is not a database of letters")


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def is_damage(error: BaseException) -> bool:
    """Return whether an error says that the file is damaged, or another one."""
    if not isinstance(error, sqlite3.DatabaseError):
        return False
    code = getattr(error, "sqlite_errorcode", None)
    return code in (None, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) and not isinstance(
        error, sqlite3.IntegrityError | sqlite3.ProgrammingError
    )


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _as_json(payload: Any) -> bytes:
    """Return a payload as JSON; it came as such."""
    try:
        return msgspec.json.encode(payload)
    except (ValueError, OverflowError, TypeError, RecursionError):
        try:
            return json.dumps(payload, default=str).encode("utf-8", "replace")
        except (ValueError, RecursionError):
            return msgspec.json.encode(repr(payload)[:100_000])
