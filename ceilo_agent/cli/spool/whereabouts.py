# SPDX-License-Identifier: Apache-2.0
"""Whether a directory that an operator names is one of logs, and which one near it is."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from ceilo_agent.delivery.schema import LOCK
from ceilo_agent.delivery.spool import Place, Unreadable, places

LAYOUT: Final = "<agent>/<worker>/log.db"
UP_AT_MOST: Final = 3
"""Directories above that are looked into: the one that was named may be inside of the right one."""
ENTRIES_AT_MOST: Final = 200
"""Directories in it, or beside one that is not there, that are looked into."""


def logs(spool_dir: Path) -> list[Place]:
    """Return the logs of a spool directory, but not those of one that lies in it.

    Raises:
        Unreadable: the directory may not be looked at.
    """
    depth = len(spool_dir.parts)
    return [
        place
        for place in places(spool_dir)
        if len(place.directory.parts) == depth + 2 + place.is_taken_over
    ]


def check_named(spool_dir: Path) -> None:
    """Refuse a directory without logs that cannot be the one that was meant.

    Raises:
        Unreadable: it says what was looked for, and which directory has it.
    """
    what = f"no {LAYOUT} below it"
    if not spool_dir.exists():
        what = "no such directory"
    elif _may_be_one(spool_dir):
        return
    near = _nearest(spool_dir)
    raise Unreadable(f"{spool_dir}: {what}" + (f" (did you mean '{near}'?)" if near else ""))


def _may_be_one(spool_dir: Path) -> bool:
    """Return whether it looks as it does before the first sample waits."""
    entries = _entries(spool_dir)
    locks = (worker / LOCK for agent in entries for worker in _entries(agent))
    return not entries or any(lock.exists() for lock in locks)


def _nearest(spool_dir: Path) -> Path | None:
    """Return a directory with logs inside, beside or above it: that with the most similar name."""
    found = dict.fromkeys(_candidates(spool_dir))
    like = str(spool_dir)
    return max(
        found,
        key=lambda path: difflib.SequenceMatcher(None, str(path), like).ratio(),
        default=None,
    )


def _candidates(spool_dir: Path) -> Iterator[Path]:
    inside = _entries(spool_dir if spool_dir.exists() else spool_dir.parent)
    for path in inside[:ENTRIES_AT_MOST]:
        if path.is_dir() and _logs_or_none(path):
            yield path
    for above in list(spool_dir.parents)[:UP_AT_MOST]:
        if any(place.directory.is_relative_to(spool_dir) for place in _logs_or_none(above)):
            yield above


def _logs_or_none(path: Path) -> list[Place]:
    with contextlib.suppress(Unreadable):
        return logs(path)
    return []


def _entries(path: Path) -> Sequence[Path]:
    try:
        return sorted(path.iterdir())
    except OSError:
        return ()
