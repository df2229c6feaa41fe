# SPDX-License-Identifier: Apache-2.0
"""Who consumes which queue: one worker at a time, whoever else may think that it should."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Protocol

from ceilo_agent.coordination.membership import Membership


class Claims(Protocol):
    """Locks of queues. Those of a process that ends are free."""

    def take(self, queue: str) -> bool:
        """Take a queue, or say that another has it; never waits long."""

    def release(self, queue: str) -> None:
        """Let another have it."""

    def valid(self) -> bool:
        """Whether what was taken is still ours; after False it is not."""

    def close(self) -> None:
        """Let go of all."""


class FileClaims:
    """Claims among the processes of one host: locked files, ``queue-<name>.lock``.

    Args:
        directory: where they are.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files: dict[str, int] = {}

    def take(self, queue: str) -> bool:
        """Take a queue, or say that another process has it.

        Raises:
            OSError: the file cannot be made.
        """
        if queue in self._files:
            return True
        self._directory.mkdir(parents=True, exist_ok=True)
        path = self._directory / f"queue-{queue}.lock"
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        self._files[queue] = file
        return True

    def release(self, queue: str) -> None:
        """Let another process have it."""
        if (file := self._files.pop(queue, None)) is not None:
            os.close(file)

    def valid(self) -> bool:
        """Return True: nobody takes a lock away."""
        return True

    def close(self) -> None:
        """Let go of all."""
        for queue in list(self._files):
            self.release(queue)


class SharedClaims:
    """Claims among the agents of a group.

    Args:
        membership: of the group, started.
    """

    def __init__(self, membership: Membership) -> None:
        self._membership = membership
        self._taken: set[str] = set()

    def take(self, queue: str) -> bool:
        """Take a queue, or say that another has it or that nobody answers."""
        if self._membership.take(f"queue.{queue}"):
            self._taken.add(queue)
            return True
        return False

    def release(self, queue: str) -> None:
        """Let another have it."""
        if queue in self._taken:
            self._taken.discard(queue)
            self._membership.release(f"queue.{queue}")

    def valid(self) -> bool:
        """Whether nobody else can have what was taken."""
        return all(self._membership.holds(f"queue.{queue}") for queue in self._taken)

    def close(self) -> None:
        """Let go of all."""
        for queue in list(self._taken):
            self.release(queue)
