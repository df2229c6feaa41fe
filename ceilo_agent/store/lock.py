# SPDX-License-Identifier: Apache-2.0
"""One writer per store: an advisory lock on ``<path>.lock``, which holds the writer's pid.

The kernel drops the lock with its process, so a file left by a dead one is no obstacle. The file
itself stays: to delete it would let two writers each lock a file of their own.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from ceilo_agent.errors import ConfigError, Fault


class WriterLock:
    """Held from construction until `release`.

    Raises:
        ConfigError: another writer holds it (the message names its pid), or it cannot be locked.
        OSError: the file cannot be opened.
    """

    def __init__(self, store: Path) -> None:
        path = Path(f"{store}.lock")
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            holder = os.pread(self._file, 32, 0).decode("ascii", "replace").strip()
            os.close(self._file)
            if error.errno == errno.EWOULDBLOCK:
                what = f"process {holder or 'unknown'} writes this store; it takes one writer"
                hint = f"stop it (ps {holder}), or give this agent another [store] path"
                raise ConfigError([Fault(str(store), 0, 0, what, hint)]) from None
            if error.errno == errno.ENOSPC:
                raise
            what = f"the lock file {path} cannot be locked: {error.strerror}"
            raise ConfigError([Fault(str(store), 0, 0, what)]) from None

    def release(self) -> None:
        """Let another writer in."""
        os.close(self._file)
