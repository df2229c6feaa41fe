# SPDX-License-Identifier: Apache-2.0
"""What is in the directory of one process's log, and the tables of its file."""

from __future__ import annotations

from typing import Final

FILE: Final = "log.db"
"""The log, an SQLite database in WAL mode."""

LOCK: Final = "lock"
"""Held with flock(2) by the process that delivers from the directory; it contains its pid."""

LEDGER: Final = "ledger"
"""A second copy of the cursors and counters (`delivery/ledger.py`)."""

TAKEN_OVER: Final = "from-"
"""The directory of a worker that is no more, inside of that of the worker that took it over."""

SALVAGE: Final = "log.db.salvage"
"""A damaged file of which not everything is saved yet; then it is ``log.db.<time>.damaged``."""

APPLICATION: Final = 0x63_61_77_6C
"""SQLite's application_id of these files: "cawl"."""

VERSION: Final = 1

PAGE_BYTES: Final = 4096

REPLAY: Final = 1
DISCARD: Final = 2
"""Marks of rows that were set aside (`aside.replay`): what the agent is to do with them."""

DISCARDED: Final = "discard "
"""Before a publisher's id, in `taken_over`: what waits for it up to that row is to be dropped."""

TABLES: Final = f"""
-- Publishers. All rows below seq are done, and so are the first `done` samples of row seq.
-- `seen` is when it was last in a pipeline file, UTC seconds, `turn` counts the changes of the row,
-- `fault` is why it cannot deliver, NULL while it can.
CREATE TABLE publisher (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, seq INTEGER NOT NULL, done INTEGER NOT NULL,
    offered INTEGER NOT NULL, delivered INTEGER NOT NULL, set_aside INTEGER NOT NULL,
    dropped INTEGER NOT NULL, seen REAL NOT NULL, turn INTEGER NOT NULL,
    fault TEXT
);
-- Who a row is for. An audience without members is for nobody.
CREATE TABLE member (
    audience INTEGER NOT NULL, publisher INTEGER NOT NULL, PRIMARY KEY (audience, publisher)
) WITHOUT ROWID;
-- What waits. `at` is when it was accepted, UTC seconds, `again` whether it was set aside before,
-- `size` the bytes of samples. A row is deleted when all its members are past it.
CREATE TABLE log (
    seq INTEGER PRIMARY KEY, audience INTEGER NOT NULL, at REAL NOT NULL, count INTEGER NOT NULL,
    again INTEGER NOT NULL, size INTEGER NOT NULL, samples BLOB NOT NULL
);
CREATE INDEX log_place ON log (audience, seq, at, count, again, size);
-- What a publisher will never take, and why. With replay = {REPLAY} it goes behind the queue once
-- more, with {DISCARD} it is dropped.
CREATE TABLE aside (
    number INTEGER PRIMARY KEY, publisher INTEGER NOT NULL, at REAL NOT NULL, reason TEXT NOT NULL,
    count INTEGER NOT NULL, samples BLOB NOT NULL, replay INTEGER NOT NULL DEFAULT 0
);
-- How far the log of a worker that is no more was taken over, by the name of its directory;
-- how far an operator discards what waits, by `{DISCARDED}` and the id of the publisher.
CREATE TABLE taken_over (directory TEXT PRIMARY KEY, seq INTEGER NOT NULL);
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION}
"""
