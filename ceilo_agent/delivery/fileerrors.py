# SPDX-License-Identifier: Apache-2.0
"""What an error says of the log's file: damaged, not to be read now, or on a full disk."""

from __future__ import annotations

import enum
import errno
import sqlite3
from typing import Final

from ceilo_agent.delivery.rows import DamagedFile

_UNREADABLE: Final = {
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_IOERR_READ,
    sqlite3.SQLITE_IOERR_SHORT_READ,
    sqlite3.SQLITE_IOERR_CORRUPTFS,
}


class Kind(enum.Enum):
    """What an error of SQLite means."""

    DAMAGE = enum.auto()
    """The file is not what was written."""
    UNREADABLE = enum.auto()
    """It cannot be read now, or its log was cut: opened again it may be."""
    OTHER = enum.auto()
    """The disk is full, another process writes, ...: later it may work."""


def kind_of(error: Exception) -> Kind:
    """Return what an exception of a statement means."""
    if isinstance(error, DamagedFile | UnicodeDecodeError):  # a message names what it cannot read
        return Kind.DAMAGE
    code: int | None = getattr(error, "sqlite_errorcode", None)
    if code is None:
        # The module's own: text that is none.
        return Kind.DAMAGE if type(error) is sqlite3.OperationalError else Kind.OTHER
    if code in _UNREADABLE:
        return Kind.UNREADABLE
    # The low byte is the primary code. SQLITE_ERROR: a table or a column that is not there.
    primary = code & 0xFF
    if primary in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}:
        return Kind.DAMAGE
    return Kind.OTHER


def is_full(error: Exception) -> bool:
    """Return whether an exception says that the disk is full."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF == sqlite3.SQLITE_FULL or getattr(error, "errno", None) == errno.ENOSPC
