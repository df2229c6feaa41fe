# SPDX-License-Identifier: Apache-2.0
"""The SQLite file of a log: opened, written in transactions, moved out of the way when damaged.

SQLite keeps pages in memory and would not notice that its files are cut or overwritten while they
are in use. So the heads of both are looked at before each use, through descriptors that are closed
after SQLite's own: to close one would drop the locks that SQLite holds for the whole process.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from ceilo_agent.delivery.rows import DamagedFile
from ceilo_agent.delivery.schema import APPLICATION, FILE, PAGE_BYTES, SALVAGE, TABLES, VERSION
from ceilo_agent.errors import ConfigError, Fault

CACHE_KIB: Final = 1024

WAL_BYTES: Final = 4 << 20
"""About the size at which SQLite's own log goes into the file."""

BUSY_SECONDS: Final = 2.0
"""How long another process that writes (`ceilo-agent spool replay`) is waited for."""

SPARE_BYTES: Final = 16 << 20
"""A file with more unused pages than this is made smaller when little is left in it."""

CHECKED_BYTES: Final = 256 << 20
"""A file that is no larger is looked through when it is opened, in some 0.1 s."""

LEFT_BYTES: Final = 256 << 10
"""Of the disk, so much is not filled."""

_SIDES: Final = ("-wal", "")

_MAGIC: Final = b"SQLite format 3\0"
_WAL_MAGIC: Final = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
"""How both files begin: https://www.sqlite.org/fileformat2.html."""


class LogFile:
    """The file in a directory; closed at first.

    Args:
        directory: where it is.
        fsync: a transaction is on the disk's platter when it is committed.
    """

    def __init__(self, directory: Path, *, fsync: bool) -> None:
        self.path = directory / FILE
        self._fsync = fsync
        self._full = False
        self._db: sqlite3.Connection | None = None
        self._watched: list[int] = []
        self._size = self._log_size = 0
        self._logged = False
        self._shrinking = False

    @property
    def db(self) -> sqlite3.Connection | None:
        """The connection, None while it is closed."""
        return self._db

    def exists(self) -> bool:
        """Return whether there is a file, or part of one, as far as that can be told."""
        try:
            return bool(self.path.exists() or self._log_bytes() or self.wounded())
        except OSError:
            return True

    def open(self) -> bool:
        """Open it, or make it; return whether it was made.

        Raises:
            ConfigError: a later version wrote it, or it may not be read.
            DamagedFile: it is something else, or nothing is left of it.
            OSError: it cannot be made.
            sqlite3.Error: it cannot be opened.
        """
        # It holds what tenants called things: not for everybody's eyes.
        try:
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640))
        except PermissionError as error:
            what = f"what waits for publishers cannot be used: {error.strerror}"
            raise ConfigError([Fault(str(self.path), 0, 0, what)]) from None
        if not self.path.stat().st_size and self._log_bytes():
            # SQLite would delete its log, and what is in it.
            raise DamagedFile("it was emptied or deleted, and its write-ahead log was not")
        db = sqlite3.connect(
            self.path, isolation_level=None, check_same_thread=False, timeout=BUSY_SECONDS
        )
        try:
            made = self._settle(db)
            for side in ("", "-wal"):
                self._watched.append(os.open(f"{self.path}{side}", os.O_RDWR | os.O_CLOEXEC))
        except BaseException:
            db.close()
            self._unwatch()
            raise
        self._db, self._full = db, False
        self._size = self._log_size = 0
        self._logged, self._shrinking = False, False
        return made

    def _log_bytes(self) -> int:
        """Return the size of SQLite's log."""
        try:
            return Path(f"{self.path}-wal").stat().st_size
        except FileNotFoundError:
            return 0

    def check(self) -> None:
        """Look whether both files begin as they should.

        Raises:
            DamagedFile: they do not.
            OSError: they cannot be read.
        """
        if self._db is None:
            return
        file, log = self._watched
        if os.pread(file, len(_MAGIC), 0) != _MAGIC:
            raise DamagedFile("it was overwritten")
        if os.fstat(file).st_size < self._size:
            raise DamagedFile("it was cut")
        if os.pread(log, 4, 0) in _WAL_MAGIC:
            self._logged = True
        elif self._logged:
            raise DamagedFile("its write-ahead log was overwritten")
        if os.fstat(log).st_size < self._log_size:
            # SQLite would go on behind the gap, where nothing is found after a kill.
            raise DamagedFile("its write-ahead log was cut")

    def _settle(self, db: sqlite3.Connection) -> bool:
        for pragma in (
            f"page_size = {PAGE_BYTES}",
            "journal_mode = WAL",
            "synchronous = NORMAL",
            # Debian's SQLite overwrites what is deleted, which costs a write for each page.
            "secure_delete = OFF",
            f"cache_size = -{CACHE_KIB}",
            f"wal_autocheckpoint = {WAL_BYTES // PAGE_BYTES}",
            f"journal_size_limit = {WAL_BYTES}",
        ):
            db.execute(f"PRAGMA {pragma}").fetchall()
        (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if not tables:
            db.execute("BEGIN IMMEDIATE")
            for statement in TABLES.split(";"):
                db.execute(statement)
            db.execute("COMMIT")
        kind, version = _pragma(db, "application_id"), _pragma(db, "user_version")
        if kind != APPLICATION:
            raise DamagedFile("it is no log of this agent")
        if version != VERSION:
            what = f"another version of ceilo_agent wrote it: format {version}, not {VERSION}"
            hint = "let that version deliver it, or move the file away"
            raise ConfigError([Fault(str(self.path), 0, 0, what, hint)])
        # SQLite takes a part that is missing for zeros. Its log may have the rest.
        size = self.path.stat().st_size
        if not self._log_bytes() and size < PAGE_BYTES * _pragma(db, "page_count"):
            raise DamagedFile("it is shorter than it was")
        if PAGE_BYTES * _pragma(db, "page_count") <= CHECKED_BYTES:
            # New rows among damaged pages could be lost with them.
            (found,) = db.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise DamagedFile(" ".join(found.split()))
        return not tables

    @contextlib.contextmanager
    def transaction(self, *, accepts: bool = False) -> Iterator[sqlite3.Connection]:
        """Write all that the block writes, or nothing.

        Args:
            accepts: what is written is acknowledged with the commit; else it may be lost when the
                machine loses power, and done once more.
        """
        db = self._db
        assert db is not None
        full = accepts and self._fsync
        if full != self._full:
            db.execute(f"PRAGMA synchronous = {'FULL' if full else 'NORMAL'}")
            self._full = full
        db.execute("BEGIN IMMEDIATE")
        try:
            yield db
            size = self._reserve(db)
            db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                if db.in_transaction:
                    db.execute("ROLLBACK")
            raise

        # Another process that writes SQLite's log into the file may have cut off what is reserved.
        self._size = min(size, os.fstat(self._watched[0]).st_size)
        self._log_size = os.fstat(self._watched[1]).st_size

    def _reserve(self, db: sqlite3.Connection) -> int:
        """Let the file have the space that it needs once SQLite's log is written into it.

        So that never fails on a full disk, and the log's own space can be had back by `relieve`.
        And it leaves some: to delete what was delivered takes space, too.

        Returns:
            The bytes that it needs.

        Raises:
            OSError: the disk is full.
        """
        size = PAGE_BYTES * _pragma(db, "page_count")
        there = os.fstat(self._watched[0]).st_size
        if size > there:
            disk = os.fstatvfs(self._watched[0])
            if disk.f_bavail * disk.f_frsize < size - there + LEFT_BYTES:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.posix_fallocate(self._watched[0], there, size - there)
        return size

    def relieve(self) -> bool:
        """Give the space of SQLite's log back to a full disk; return whether that was of use."""
        if self._db is None:
            return False
        size = os.fstat(self._watched[1]).st_size
        return size > 0 and self._write_back()

    def changed(self) -> int:
        """Return a number that is another one when another process has written."""
        return 0 if self._db is None else _pragma(self._db, "data_version")

    def close(self) -> None:
        """Let go of it; what SQLite's log holds goes into the file."""
        db, self._db = self._db, None
        if db is not None:
            with contextlib.suppress(sqlite3.Error):
                db.close()
        self._unwatch()

    def _unwatch(self) -> None:
        for file in self._watched:
            os.close(file)
        self._watched.clear()

    # -- what others did to it -------------------------------------------------------------------

    def is_in_place(self) -> bool:
        """Return whether the open files are still those at the path."""
        try:
            return all(
                os.path.samestat(os.fstat(file), Path(f"{self.path}{side}").stat())
                for file, side in zip(self._watched, ("", "-wal"), strict=False)
            )
        except FileNotFoundError:
            return False
        except OSError:
            return True

    def restore(self, now: float) -> None:
        """Write the open file, which somebody deleted or replaced, to its place once more.

        Args:
            now: UTC seconds.

        Raises:
            OSError: it cannot be written.
            sqlite3.Error: it cannot be read or written.
        """
        assert self._db is not None
        self.path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        copy = Path(f"{self.path}.copy")
        copy.unlink(missing_ok=True)
        self._db.execute("VACUUM INTO ?", (str(copy),))
        copy.chmod(0o640)
        if self.path.exists():
            self.path.rename(self.free_name(now))
        for side in ("-wal", "-shm"):
            Path(f"{self.path}{side}").unlink(missing_ok=True)
        copy.rename(self.path)
        # Last: SQLite sees that the file is not in its place, and leaves what is there alone.
        self.close()

    def wounded(self) -> list[Path]:
        """Return the damaged files that were moved out of the way and not saved yet.

        A move that was interrupted is ended first.
        """
        found = set(self.path.parent.glob(f"{SALVAGE}*"))
        for side in [path for path in found if path.name.endswith("-wal")]:
            found.remove(side)
            whole = side.with_name(side.name.removesuffix("-wal"))
            if whole not in found and self.path.exists():
                self.path.rename(whole)
                found.add(whole)
        return sorted(found)

    def move_away(self) -> None:
        """Move the damaged file out of the way, to be saved; the next `open` makes a new one.

        Raises:
            OSError: it cannot be moved.
        """
        place, number = self.path.with_name(SALVAGE), 1
        while place.exists():
            number += 1
            place = self.path.with_name(f"{SALVAGE}.{number}")
        self._move(place)

    def set_aside(self, path: Path, now: float) -> Path:
        """Give a damaged file that was saved, as far as it can be, its last name.

        Raises:
            OSError: it cannot be moved.
        """
        place = self.free_name(now)
        for side in _SIDES:
            with contextlib.suppress(FileNotFoundError):
                Path(f"{path}{side}").rename(f"{place}{side}")
        return place

    def free_name(self, now: float) -> Path:
        """Return a path for something damaged; `now` is in UTC seconds."""
        stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
        place, number = Path(f"{self.path}.{stamp}.damaged"), 1
        while place.exists():
            number += 1
            place = Path(f"{self.path}.{stamp}-{number}.damaged")
        return place

    def _move(self, place: Path) -> None:
        try:
            # The log first: without it the file is an older one, but without the file it is lost.
            for side in _SIDES:
                with contextlib.suppress(FileNotFoundError):
                    Path(f"{self.path}{side}").rename(f"{place}{side}")
            Path(f"{self.path}-shm").unlink(missing_ok=True)
        finally:
            # Only now: to close it would write the log into the file and delete it.
            self.close()

    # -- its size --------------------------------------------------------------------------------

    def shrink(self) -> None:
        """Give unused pages back to the disk if they are many and little else is in the file."""
        if self._db is None:
            return
        with contextlib.suppress(sqlite3.Error):
            pages, free = _pragma(self._db, "page_count"), _pragma(self._db, "freelist_count")
            used = (pages - free) * PAGE_BYTES
            if free * PAGE_BYTES > SPARE_BYTES and used < SPARE_BYTES:
                self._shrinking, self._size, self._log_size = True, 0, 0
                self._db.execute("VACUUM")
            if self._shrinking:
                self._shrinking = not self._write_back()

    def _write_back(self) -> bool:
        """Write SQLite's log into the file, and empty it; False if a reader holds that up."""
        assert self._db is not None
        self._logged, self._log_size = False, 0
        # Whoever offers must not wait for a reader: `ceilo-agent spool show` may last for hours.
        self._db.execute("PRAGMA busy_timeout = 0")
        try:
            ((busy, *_),) = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            self._db.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000:.0f}")
        return not busy


def _pragma(db: sqlite3.Connection, name: str) -> int:
    (value,) = db.execute(f"PRAGMA {name}").fetchone()
    return int(value)
