# SPDX-License-Identifier: Apache-2.0
"""``file:///path`` appends samples to a file, a line of JSON each, rotated by size.

The file may also be rotated by others (logrotate, with or without ``copytruncate``) and written by
several processes: each push looks whether the path still names the open file, and locks it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Final
from urllib.parse import SplitResult

import msgspec

from ceilo_agent.errors import ConfigError, Fault, Retryable
from ceilo_agent.plugins import Promise, Publisher
from ceilo_agent.publishers.place import path_of
from ceilo_agent.publishers.rendering import json_pieces
from ceilo_agent.sample import Sample

LOCK_SECONDS: Final = 2.0
"""How long a push waits while another process holds the file."""


class FileOptions(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What ``file:///path?...`` takes."""

    max_bytes: Annotated[
        Annotated[int, msgspec.Meta(ge=0)],
        msgspec.Meta(description="Bytes at which the file is rotated; 0: never."),
    ] = 100 << 20
    backup_count: Annotated[
        Annotated[int, msgspec.Meta(ge=0, le=1000)],
        msgspec.Meta(
            description="Rotated files that are kept, named path.1 (the newest), path.2 and so on; "
            "0: the file is never rotated."
        ),
    ] = 5
    json: Annotated[
        str | bool,
        msgspec.Meta(description="Taken from Ceilometer's files; lines are JSON in any case."),
    ] = True


PIECES_AT_ONCE: Final = 1000
"""Below the 1024 of Linux (IOV_MAX, limits.h)."""


class File(Publisher):
    """The file at the URL's path; it holds whole lines only, also when the disk is full."""

    promises: ClassVar[frozenset[Promise]] = frozenset({Promise.ORDERED, Promise.DURABLE})
    Options: ClassVar[type[msgspec.Struct]] = FileOptions

    _path: Path
    _file: int = -1

    @classmethod
    def check(cls, url: SplitResult) -> None:
        """Look whether the URL has a path."""
        if path_of(url) is None:
            raise _refused("file://", "a path is missing", "write file:///var/log/samples.json")

    def open(self) -> None:
        """Open the file, creating it if need be.

        Raises:
            ConfigError: the URL has no path, or no file can be written there.
            Retryable: no space left.
        """
        self.check(self.url)
        path = path_of(self.url)
        assert path is not None
        self._path = path
        try:
            self._reopen()
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise self._not_now(error) from error
            gone = not path.parent.is_dir()
            hint = f"make the directory {path.parent}" if gone else ""
            raise _refused(str(path), f"cannot be written: {error.strerror}", hint) from error

    def close(self) -> None:
        """Close the file, which drops its lock."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def push(self, samples: Sequence[Sample]) -> None:
        """Append the samples.

        Raises:
            Retryable: no space left, or the file cannot be written now. Nothing of this batch is
                in the file then, except what went into a file that was rotated amid the batch.
        """
        limit = self.options.max_bytes if self.options.backup_count else 0
        try:
            size = self._take()
            for pieces, length in _parts(samples, limit):
                # More than once, if another process filled the new file meanwhile.
                while limit and size and size + length > limit:
                    self._rotate()
                    size = self._take()
                self._write(pieces, size)
                size += length
            fcntl.flock(self._file, fcntl.LOCK_UN)
        except OSError as error:
            self.close()
            raise self._not_now(error) from error

    def _reopen(self) -> None:
        self.close()
        # O_NONBLOCK: a pipe without a reader must not hold the agent up.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        self._file = os.open(self._path, flags, 0o640)
        if not stat.S_ISREG(os.fstat(self._file).st_mode):
            self.close()
            raise OSError(errno.EINVAL, "it is no regular file")

    def _take(self) -> int:
        """Lock the file that the path names now and return its size."""
        until = time.monotonic() + LOCK_SECONDS
        while True:
            if self._file < 0 or not self._current():
                self._reopen()
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until:
                    raise OSError(errno.EWOULDBLOCK, "another process has it locked") from None
                time.sleep(0.01)
                continue
            # It may have been rotated while it was waited for.
            if self._current():
                return os.fstat(self._file).st_size

    def _current(self) -> bool:
        """Return whether the path still names the open file."""
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return False
        return os.path.samestat(there, os.fstat(self._file))

    def _write(self, pieces: Sequence[bytes], size: int) -> None:
        """Append to a file of that size, all or nothing."""
        try:
            for start in range(0, len(pieces), PIECES_AT_ONCE):
                self._append(pieces[start : start + PIECES_AT_ONCE])
        except OSError:
            os.ftruncate(self._file, size)
            raise

    def _append(self, pieces: Sequence[bytes]) -> None:
        rest: Sequence[bytes | memoryview] = pieces
        while rest:
            written = os.writev(self._file, rest)
            if written == sum(map(len, rest)):
                return
            # A disk that is nearly full takes a part.
            rest = [memoryview(b"".join(rest))[written:]]

    def _rotate(self) -> None:
        for number in range(self.options.backup_count - 1, 0, -1):
            older = Path(f"{self._path}.{number}")
            if older.exists():
                older.replace(f"{self._path}.{number + 1}")
        self._path.replace(f"{self._path}.1")

    def _not_now(self, error: OSError) -> Retryable:
        if error.errno == errno.ENOSPC:
            return Retryable(f"no space left on the device of {self._path}")
        return Retryable(f"{self._path} cannot be written: {error.strerror}")


def _refused(place: str, what: str, hint: str) -> ConfigError:
    return ConfigError([Fault(place, 0, 0, what, hint)])


def _parts(samples: Sequence[Sample], limit: int) -> Iterator[tuple[list[bytes], int]]:
    """Yield whole lines, in pieces, and their length: at most `limit` bytes (0: no limit).

    A line that is longer stands alone.
    """
    pieces: list[bytes] = []
    size = 0
    for line in json_pieces(samples):
        head, volume, rest = line
        length = len(head) + len(volume) + len(rest)
        if limit and size and size + length > limit:
            yield pieces, size
            pieces, size = [], 0
        pieces += line
        size += length
    if pieces:
        yield pieces, size
