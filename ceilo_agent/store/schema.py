# SPDX-License-Identifier: Apache-2.0
"""The format of a store, version 1.

An SQLite file in WAL mode while it is written (the writer's pid is in ``<path>.lock``), with
``application_id`` 0x63654167 (``ceAg``) and ``user_version`` 1. Times are integer microseconds
since 1970, UTC.

| table | one row per | columns |
|---|---|---|
| meter | meter | id, name, unit, type (gauge, cumulative, delta) |
| resource | resource | id, name (the resource's id), project, owner, type, metadata (JSON) |
| series | meter of a resource | id, meter, resource, seen |
| sample | sample | time, series, volume |
| state | fact of the store | name, value |

- `sample` is keyed by (time, series), so a cycle is appended to one end of one B-tree and the
  oldest samples go from the other. `volume` has no affinity: an integer stays an integer, a float a
  float; integers beyond 64 bits with sign are decimal text.
- `resource` holds what the newest sample said of it.
- `series.seen` and the row ``horizon`` of `state` spare a scan for the last time of a series: it is
  `seen`, unless a sample of it lies after the horizon. The writer moves the horizon now and then.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from ceilo_agent.errors import CeiloAgentError

APPLICATION_ID: Final = 0x63654167
VERSION: Final = 1

TABLES: Final = {
    "meter": "CREATE TABLE meter(id INTEGER PRIMARY KEY, name TEXT NOT NULL, unit TEXT NOT NULL, "
    "type TEXT NOT NULL, UNIQUE(name, unit, type))",
    "resource": "CREATE TABLE resource(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, "
    "project TEXT, owner TEXT, type TEXT NOT NULL, metadata TEXT NOT NULL)",
    "series": "CREATE TABLE series(id INTEGER PRIMARY KEY, meter INTEGER NOT NULL, "
    "resource INTEGER NOT NULL, seen INTEGER NOT NULL, UNIQUE(meter, resource))",
    "sample": "CREATE TABLE sample(time INTEGER NOT NULL, series INTEGER NOT NULL, "
    "volume NOT NULL, PRIMARY KEY(time, series)) WITHOUT ROWID",
    "state": "CREATE TABLE state(name TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID",
}


class Damaged(CeiloAgentError):
    """The file was a store once, or never a database at all: nothing in it can be relied on."""


class Foreign(CeiloAgentError):
    """The file is sound, but not ours to write: another program's, or of a newer version."""


def create(db: sqlite3.Connection) -> None:
    """Make an empty database a store, in one transaction."""
    db.execute("BEGIN IMMEDIATE")
    for statement in TABLES.values():
        db.execute(statement)
    db.execute("INSERT INTO state VALUES('horizon', 0)")
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute(f"PRAGMA user_version = {VERSION}")
    db.execute("COMMIT")


def examine(db: sqlite3.Connection) -> bool:
    """Return whether the database is a store; False when it is still empty.

    Raises:
        Damaged: it calls itself a store, but its tables are not those of its version.
        Foreign: it is another program's, or of a newer version.
        sqlite3.DatabaseError: it cannot be read.
    """
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    tables = dict(db.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'table'"))
    if application != APPLICATION_ID:
        if application == 0 and not tables:
            return False
        raise Foreign("this is a database of another program, not a metric store")
    if version > VERSION:
        raise Foreign(
            f"this store has format {version}; this agent knows formats up to {VERSION}: a newer "
            f"ceilo-agent wrote it"
        )
    if version != VERSION or any(tables.get(name) != sql for name, sql in TABLES.items()):
        raise Damaged(f"its tables are not those of format {VERSION}")
    return True
