# SPDX-License-Identifier: Apache-2.0
"""The last change of this agent's share, and the file that tells people of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import msgspec

LOG = logging.getLogger(__name__)


class Rebalance(msgspec.Struct, frozen=True):
    """A change of the share.

    Attributes:
        time: UTC seconds.
        group: of those who share.
        agent: whose share it is.
        reason: for people.
        members: weights by name.
        owned: buckets that are this agent's now.
        gained: of them, those that were not before.
        lost: buckets that were and are not.
    """

    time: float
    group: str
    agent: str
    reason: str
    members: Mapping[str, int]
    owned: int
    gained: int
    lost: int


class Record:
    """Keeps the last change in a file, JSON.

    Args:
        path: of the file; its directory is made when it lacks.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fault: str | None = None

    def put(self, change: Rebalance) -> None:
        """Write it down, whole or not at all. A fault is told once and stops nothing."""
        new = self.path.with_suffix(".new")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
            new.write_bytes(msgspec.json.encode(change))
            new.replace(self.path)
        except OSError as error:
            if self._fault != str(error):
                LOG.warning("the last change of the share cannot be written: %s", error)
            self._fault = str(error)
        else:
            self._fault = None

    def last(self) -> Rebalance | None:
        """Return what was written; None: nothing that can be read."""
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=Rebalance)
        except (OSError, msgspec.MsgspecError):
            return None


def record(state: Path, namespace: str) -> Record:
    """Return where the changes of a namespace's share are kept."""
    return Record(state / f"share-{namespace}.json")


def records(state: Path) -> list[Record]:
    """Return where any changes are kept."""
    return [Record(path) for path in sorted(state.glob("share-*.json"))]
