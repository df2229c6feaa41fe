# SPDX-License-Identifier: Apache-2.0
"""Letters of workers that are no more: the worker that has their samples has these, too."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from ceilo_agent.delivery.schema import TAKEN_OVER
from ceilo_agent.notification.letterfile import FILE
from ceilo_agent.notification.letters import Letters

LOG = logging.getLogger(__name__)


def inherit(letters: Letters, directory: Path, workers: int) -> None:
    """Take over the letters of workers that are no more; what cannot be read stays where it is.

    Args:
        letters: of one worker.
        directory: of that worker; its name is the worker's number.
        workers: how many there are.
    """
    for place in _places(directory, workers):
        try:
            count = letters.take_over(place / FILE)
        except (OSError, sqlite3.Error) as error:
            LOG.warning("%s cannot be taken over: %s", place / FILE, error)
            continue
        if count:
            LOG.info("%d messages that were set aside in %s are taken over", count, place)
        if place.parent == directory:
            for path in place.glob(f"{FILE}*"):
                path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                place.rmdir()


def _places(directory: Path, workers: int) -> Iterator[Path]:
    """Yield directories with letters: those whose log was taken over, and those without a log."""
    gone = (
        path
        for path in directory.parent.iterdir()
        if path.name.isdecimal()
        and int(path.name) >= workers
        and int(path.name) % workers == int(directory.name)
    )
    for place in (*sorted(directory.glob(f"{TAKEN_OVER}*")), *sorted(gone)):
        if (place / FILE).exists():
            yield place
