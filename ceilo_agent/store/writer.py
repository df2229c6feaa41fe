# SPDX-License-Identifier: Apache-2.0
"""The one writer of a store: appends batches, keeps the file bounded, survives a broken one."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Final

import msgspec

from ceilo_agent.errors import ConfigError, Fault, Retryable
from ceilo_agent.sample import Sample
from ceilo_agent.store import schema
from ceilo_agent.store.connection import (
    NoIndex,
    is_cut,
    is_damage,
    is_full,
    read_only,
    read_write,
    sidecar,
)
from ceilo_agent.store.encoding import INT_MAX, INT_MIN, to_cell, to_micros
from ceilo_agent.store.index import Index, Row
from ceilo_agent.store.lock import WriterLock
from ceilo_agent.store.retention import Retention, Trimmed, log_bytes

_log = logging.getLogger(__name__)

_APPEND: Final = "INSERT OR REPLACE INTO sample(time, series, volume) VALUES (?, ?, ?)"
_AT_ONCE: Final = 100
"""Rows of one statement: a third of the cost of a statement for each."""
_APPEND_MANY: Final = _APPEND + ", (?, ?, ?)" * (_AT_ONCE - 1)


class Counters(msgspec.Struct):
    """What a writer did since it was made.

    Attributes:
        stored: samples written; one that replaced another counts too.
        dropped: samples that are no finite number or have no date.
        deleted_by_age: samples that were older than the store keeps.
        deleted_by_bytes: samples that went to make room.
        set_aside: broken files that were replaced by a new store.
    """

    stored: int = 0
    dropped: int = 0
    deleted_by_age: int = 0
    deleted_by_bytes: int = 0
    set_aside: int = 0


class Writer:
    """Appends to the store at a path; safe to call from several threads.

    Args:
        path: the file; it and its directory are made if need be.
        max_age: seconds that samples stay.
        max_bytes: bytes of the file and its write-ahead log.
        clock: gives UTC seconds, for the age of samples.
    """

    def __init__(
        self,
        path: Path,
        max_age: float,
        max_bytes: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = path
        self.counters = Counters()
        self._retention = Retention(path, max_age, max_bytes)
        self._log_bytes = log_bytes(max_bytes)
        self._clock = clock
        self._mutex = threading.Lock()
        self._lock: WriterLock | None = None
        self._db: sqlite3.Connection | None = None
        self._index: Index | None = None
        self._identity: tuple[int, int] | None = None

    # -- opening and closing ---------------------------------------------------------------------

    def open(self) -> None:
        """Take the store, making a new one where there is none or a broken one.

        Raises:
            ConfigError: the path cannot be written, another process writes it, or the file is of
                another program or of a newer version.
            Retryable: there is no space left.
        """
        with self._mutex:
            self._open()

    def close(self) -> None:
        """Give the store back, in a form that needs no files beside it unless readers are on."""
        with self._mutex:
            if self._db is not None and self._index is not None:
                # A failure here costs the next open some time, no sample.
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("BEGIN IMMEDIATE")
                    self._index.mark(self._now(), force=True)
                    self._db.execute("COMMIT")
                    self._db.execute("PRAGMA busy_timeout = 500")
                    self._db.execute("PRAGMA journal_mode = DELETE")
            self._disconnect()
            if self._lock is not None:
                self._lock.release()
                self._lock = None

    def _open(self) -> None:
        if self._db is not None:
            return
        try:
            self._make_place()
            if self._lock is None:
                self._lock = WriterLock(self.path)
            try:
                self._connect()
            except (schema.Damaged, sqlite3.DatabaseError) as error:
                if isinstance(error, sqlite3.Error) and not is_damage(error):
                    raise
                self._set_aside(str(error))
                self._connect()
        except schema.Foreign as error:
            hint = "choose another [store] path, or move this file away"
            raise self._refused(str(error), hint) from None
        except OSError as error:
            self._disconnect()
            if error.errno == errno.ENOSPC:
                raise self._no_space() from error
            raise self._refused(f"cannot be written: {error.strerror}") from error
        except sqlite3.Error as error:
            self._disconnect()
            if is_full(error):
                raise self._no_space() from error
            raise Retryable(f"the metric store {self.path} cannot be opened: {error}") from error
        finally:
            if self._db is None and self._lock is not None:
                self._lock.release()
                self._lock = None

    def _make_place(self) -> None:
        """Make the directory and an empty file where there are none; OSError if that fails."""
        try:
            self.path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        except FileExistsError:
            raise NotADirectoryError(errno.ENOTDIR, f"{self.path.parent} is no directory") from None
        try:
            mode = self.path.stat().st_mode
        except FileNotFoundError:
            # The store holds what tenants called things: not for everybody's eyes.
            os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640))
            return
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        for place in (self.path, self.path.parent):
            if not os.access(place, os.W_OK):
                raise PermissionError(errno.EACCES, f"no permission to write {place}")

    def _connect(self) -> None:
        """Open the file and load its index.

        Raises:
            Damaged: it is no sound store.
            Foreign: it is not ours.
            sqlite3.DatabaseError: it cannot be read or written.
        """
        # Looked at without a trace first: it may be another program's.
        with contextlib.suppress(NoIndex), contextlib.closing(read_only(self.path)) as db:
            schema.examine(db)
            if is_cut(db, self.path):
                raise schema.Damaged("its end is missing")
        self._db = db = read_write(self.path, self._log_bytes)
        try:
            if not schema.examine(db):
                if not db.execute("PRAGMA auto_vacuum").fetchone()[0]:
                    db.execute("VACUUM")  # an empty database that somebody else made
                schema.create(db)
                # So that the file by itself tells what it is.
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            self._index = Index(db)
        except BaseException:
            self._disconnect()
            raise
        found = self.path.stat()
        self._identity = (found.st_dev, found.st_ino)

    def _disconnect(self) -> None:
        self._index = None
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
            self._db = None

    def _set_aside(self, reason: str) -> None:
        """Rename a broken file and what belongs to it; the next `_connect` begins a new one."""
        stamp = datetime.fromtimestamp(self._clock(), UTC).strftime("%Y%m%dT%H%M%SZ")
        place, number = Path(f"{self.path}.corrupt-{stamp}"), 1
        while place.exists():
            number += 1
            place = Path(f"{self.path}.corrupt-{stamp}-{number}")
        for suffix in ("-wal", "-shm", ""):
            with contextlib.suppress(FileNotFoundError):
                sidecar(self.path, suffix).rename(sidecar(place, suffix))
        # Only now: to close the last connection would write the log into the file and delete it.
        self._disconnect()
        self.counters.set_aside += 1
        _log.warning(
            "the metric store %s is broken (%s): set aside as %s, a new store is begun",
            self.path,
            reason,
            place,
        )
        self._make_place()

    def _refused(self, what: str, hint: str = "") -> ConfigError:
        return ConfigError([Fault(str(self.path), 0, 0, f"metric store: {what}", hint)])

    def _no_space(self) -> Retryable:
        return Retryable(f"no space left on the device of the metric store {self.path}")

    # -- appending -------------------------------------------------------------------------------

    def append(self, samples: Sequence[Sample]) -> None:
        """Store samples, all or none; of two with one time and series the later one stays.

        Raises:
            Retryable: no space left, or the file cannot be written now.
        """
        if not samples:
            return
        with self._mutex:
            self._reopen_if_replaced()
            try:
                self._append(samples)
            except ConfigError as error:
                # Found sound at the start: somebody changed it since, and may change it back.
                raise Retryable(str(error)) from error
            except sqlite3.Error as error:
                if is_damage(error):
                    self._begin_anew(samples, str(error))
                    return
                raise self._not_now(error) from error

    def _append(self, samples: Sequence[Sample]) -> None:
        self._open()
        db = self._db
        assert db is not None
        if self._index is None:
            self._index = Index(db)
        index, now = self._index, self._now()
        try:
            db.execute("BEGIN IMMEDIATE")
            trimmed = self._retention.trim(db, now, len(samples))
            rows = _rows(index, samples)
            _insert(db, rows)
            index.note(rows)
            index.mark(now)
            db.execute("COMMIT")
        except BaseException:
            self._index = None
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        self._count(len(samples), len(rows), trimmed)
        try:
            self._retention.shrink(db)
            self._retention.recycle(db)
        except sqlite3.Error as error:
            # The batch is stored. If there is no space even to tidy up, the next one will tell.
            if is_damage(error):
                raise

    def _count(self, given: int, stored: int, trimmed: Trimmed) -> None:
        self.counters.stored += stored
        self.counters.dropped += given - stored
        self.counters.deleted_by_age += trimmed.by_age
        self.counters.deleted_by_bytes += trimmed.by_bytes

    def _begin_anew(self, samples: Sequence[Sample], reason: str) -> None:
        try:
            self._set_aside(reason)
            self._append(samples)
        except OSError as error:
            self._disconnect()
            raise Retryable(
                f"the metric store {self.path} is broken and cannot be set aside: {error.strerror}"
            ) from error
        except sqlite3.Error as error:
            raise self._not_now(error) from error

    def _not_now(self, error: sqlite3.Error) -> Retryable:
        if is_full(error):
            return self._no_space()
        # Whatever it was, the next batch looks at the file again from the start.
        self._disconnect()
        return Retryable(f"the metric store {self.path} cannot be written: {error}")

    def _reopen_if_replaced(self) -> None:
        """Notice that the file was deleted or another put in its place: nobody would read ours."""
        if self._db is None:
            return
        try:
            found = self.path.stat()
            same = (found.st_dev, found.st_ino) == self._identity
        except OSError:
            same = False
        if not same:
            _log.warning("the metric store %s was removed or replaced: opened again", self.path)
            self._disconnect()
            if self._lock is not None:
                self._lock.release()
                self._lock = None

    def _now(self) -> int:
        return int(self._clock() * 1e6)


def _insert(db: sqlite3.Connection, rows: Sequence[Row]) -> None:
    whole = len(rows) - len(rows) % _AT_ONCE
    for start in range(0, whole, _AT_ONCE):
        db.execute(_APPEND_MANY, tuple(chain.from_iterable(rows[start : start + _AT_ONCE])))
    db.executemany(_APPEND, rows[whole:])


def _rows(index: Index, samples: Sequence[Sample]) -> list[Row]:
    """Return the rows of a batch in order of time, without what cannot be stored."""
    rows: list[Row] = []
    append = rows.append
    resource = moment = micros = known = None
    newest, ordered = INT_MIN, True
    for sample in samples:
        volume = sample.volume
        cell: int | float | str | None = volume
        kind = type(volume)
        # Nearly all pass here; NaN and infinities do not.
        if (kind is not int and kind is not float) or not INT_MIN <= volume <= INT_MAX:
            cell = to_cell(volume)
            if cell is None:
                continue
        if sample.resource is not resource or sample.time is not moment:
            # Samples of one read share both objects; to compare identities is the cheap test.
            resource, moment = sample.resource, sample.time
            micros = to_micros(moment)
            if micros is not None:
                known = index.settle(resource, micros)
                if micros < newest:
                    ordered = False
                newest = micros
        if micros is None or known is None:
            continue
        series = known.series.get(sample.meter)
        if series is None:
            series = index.add(known, sample.meter, micros)
        append((micros, series, cell))  # type: ignore[arg-type]
    if not ordered:
        # Stable: of two samples of one series and time, the later one still comes last.
        rows.sort(key=lambda row: row[0])
    return rows
