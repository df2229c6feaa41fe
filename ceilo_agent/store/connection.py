# SPDX-License-Identifier: Apache-2.0
"""Opening a store's file, and what SQLite's errors mean.

No function here opens the file by itself while a writer has it open: closing a second descriptor
would drop the POSIX locks that SQLite holds for the whole process.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final
from urllib.parse import quote

PAGE_BYTES: Final = 4096
CACHE_KIB: Final = 2048

_WRITE_FORMAT: Final = 18
"""Offset of the header's byte that is 2 in WAL mode (https://www.sqlite.org/fileformat.html)."""


class NoIndex(Exception):
    """There is a write-ahead log, but not its shared index, which a reader may not create."""


def sidecar(path: Path, suffix: str) -> Path:
    """Return the path of the ``-wal`` or ``-shm`` beside a database."""
    return Path(f"{path}{suffix}")


def read_only(path: Path) -> sqlite3.Connection:
    """Open an existing file for reading, without creating or changing any file.

    Raises:
        NoIndex: a writer that died left a log, and somebody removed its ``-shm``.
        OSError: the file cannot be read.
        sqlite3.DatabaseError: SQLite cannot open it.
    """
    wal, shm = sidecar(path, "-wal"), sidecar(path, "-shm")
    if wal.exists() and shm.exists():
        mode = "mode=ro&readonly_shm=1"
    elif wal.exists() and wal.stat().st_size:
        raise NoIndex(f"{shm} is missing")
    else:
        with path.open("rb") as file:
            header = file.read(_WRITE_FORMAT + 1)
        # A copy of a file in WAL mode: to open it as such would create its log.
        copied = header[_WRITE_FORMAT:] == b"\2"
        mode = "mode=ro&immutable=1" if copied else "mode=ro"
    uri = f"file:{quote(str(path.absolute()))}?{mode}"
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=5)


def read_write(path: Path, wal_bytes: int) -> sqlite3.Connection:
    """Open a file for writing, in WAL mode, creating it if need be.

    Args:
        path: the file.
        wal_bytes: about the size at which the write-ahead log goes into the file.
    """
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
    try:
        for pragma in (
            f"page_size = {PAGE_BYTES}",
            # Before the first page is written: it decides on the file's layout.
            "auto_vacuum = INCREMENTAL",
            "journal_mode = WAL",
            "synchronous = NORMAL",
            # Debian's SQLite overwrites what is deleted, which costs a write for each page.
            "secure_delete = OFF",
            f"cache_size = -{CACHE_KIB}",
            f"wal_autocheckpoint = {wal_bytes // PAGE_BYTES}",
            f"journal_size_limit = {wal_bytes}",
        ):
            db.execute(f"PRAGMA {pragma}").fetchall()
    except sqlite3.Error:
        db.close()
        raise
    return db


def is_cut(db: sqlite3.Connection, path: Path) -> bool:
    """Return whether the file is shorter than it says, unless the log may hold what is missing.

    SQLite takes the missing part of the last page for zeros, and a file of one byte for an empty
    one.
    """
    wal = sidecar(path, "-wal")
    if wal.exists() and wal.stat().st_size:
        return False
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    (page_bytes,) = db.execute("PRAGMA page_size").fetchone()
    size = path.stat().st_size
    return bool(size < pages * page_bytes or (size and not pages))


def is_damage(error: sqlite3.Error) -> bool:
    """Return whether the file itself is broken."""
    return _code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_full(error: sqlite3.Error) -> bool:
    """Return whether there was no space left."""
    code = getattr(error, "sqlite_errorcode", None)
    return _code(error) == sqlite3.SQLITE_FULL or code == sqlite3.SQLITE_IOERR_SHMSIZE


def _code(error: sqlite3.Error) -> int | None:
    # The low byte is the primary code; the module's own errors (a closed connection) have none.
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
