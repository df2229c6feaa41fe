# SPDX-License-Identifier: Apache-2.0
"""One process per directory: a flock(2) on its file ``lock``, which contains the holder's pid.

The kernel drops the lock with its process, so a file left by a dead one is no obstacle. The file
itself stays: to delete it would let two processes each lock a file of their own.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from pathlib import Path

from ceilo_agent.delivery.schema import LOCK
from ceilo_agent.errors import ConfigError, Fault


class Taken(Exception):
    """Another process holds the directory; the message is its pid."""


class Holding:
    """A directory that is held, from construction until `release`.

    Args:
        directory: made if need be.

    Raises:
        Taken: another process holds it.
        OSError: it cannot be made or locked.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        self._path = directory / LOCK
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._file, 32, 0).decode("ascii", "replace").strip()
            os.close(self._file)
            if error.errno == errno.EWOULDBLOCK:
                raise Taken(holder or "unknown") from None
            raise
        with contextlib.suppress(OSError):  # a full disk: the pid is for people only
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    @property
    def is_there(self) -> bool:
        """Whether the file is still in its place: nobody can lock another one."""
        try:
            return os.path.samestat(self._path.stat(), os.fstat(self._file))
        except OSError:
            return False

    def release(self) -> None:
        """Let another process in."""
        os.close(self._file)


def refusal(directory: Path, error: Exception) -> ConfigError:
    """Return what an operator is told of a directory that cannot be held."""
    if isinstance(error, Taken):
        what = f"process {error} delivers from this directory; it takes one agent"
        hint = f"stop it (ps {error}), or give this agent another [DEFAULT] state_path"
        return ConfigError([Fault(str(directory), 0, 0, what, hint)])
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    place = getattr(error, "filename", None) or directory
    what = f"the directory for what waits for publishers cannot be used: {reason}"
    hint = "it is [delivery] spool_dir; the agent's user must be able to write it"
    return ConfigError([Fault(str(place), 0, 0, what, hint)])
