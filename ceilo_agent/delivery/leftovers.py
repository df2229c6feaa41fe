# SPDX-License-Identifier: Apache-2.0
"""Takes over what waits in the logs of workers that are no more.

The directory of such a worker is renamed into that of the one which takes it over: from then on it
is nobody else's. Its rows follow in transactions that also say how far it was read, so that none
comes twice, wherever it is interrupted. Only then is it deleted.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ceilo_agent.delivery.entries import DamagedRow, compress, decompress, open_aside, open_row
from ceilo_agent.delivery.holding import Holding, Taken
from ceilo_agent.delivery.intake import Intake
from ceilo_agent.delivery.rows import Aside, Row, Rows
from ceilo_agent.delivery.schema import FILE, LEDGER, LOCK, TAKEN_OVER
from ceilo_agent.errors import ConfigError

if TYPE_CHECKING:
    from ceilo_agent.delivery.cursor import Cursor
    from ceilo_agent.delivery.log import Log

LOG = logging.getLogger(__name__)

_OURS: Final = (FILE, LEDGER, LOCK)
"""How the names of a log's files begin."""

_Work = Callable[[Intake], None]

AT_ONCE: Final = 64
"""Rows that are taken over in one transaction."""

ALL_ROWS: Final = 1 << 60
"""How far: all rows, and of what was set aside the numbers up to the rest of it."""

ALL: Final = 1 << 62
"""How far: everything, the totals included."""


def take_over(log: Log, workers: int) -> None:
    """Take over what belongs to a log that was just opened.

    Args:
        log: of one worker; its directory's name is the worker's number.
        workers: how many there are.
    """
    directory = log.directory
    if directory.name.isdecimal():
        for sibling in sorted(directory.parent.iterdir()):
            number = int(sibling.name) if sibling.name.isdecimal() else 0
            if number >= workers and number % workers == int(directory.name):
                _rename(sibling, directory)
    places = sorted(path for path in directory.glob(f"{TAKEN_OVER}*") if path.is_dir())
    progress = log.taken_over
    if progress is None:
        for place in places:
            LOG.warning("%s is taken over at the next start", place)
        return
    for name in progress.keys() - {place.name for place in places}:
        log.receive(_forgets(name))
    for place in places:
        try:
            _Taking(log, place, progress.get(place.name, 0)).run()
        except ConfigError as error:
            LOG.warning("%s", error)


def _rename(sibling: Path, directory: Path) -> None:
    """Make the directory of a worker that is no more our own."""
    if not (sibling / FILE).exists() and not any(sibling.glob(f"{FILE}*")):
        return
    try:
        holding = Holding(sibling)
    except Taken as error:
        told = "%s: process %s is still at work there, it is taken over at the next start"
        LOG.warning(told, sibling, error)
        return
    except OSError as error:
        LOG.warning("%s cannot be taken over: %s", sibling, error.strerror)
        return
    try:
        place, number = directory / f"{TAKEN_OVER}{sibling.name}", 1
        while place.exists():
            number += 1
            place = directory / f"{TAKEN_OVER}{sibling.name}-{number}"
        sibling.rename(place)
    except OSError as error:
        LOG.warning("%s cannot be taken over: %s", sibling, error.strerror)
    finally:
        holding.release()


class _Taking:
    """Takes over one directory.

    Args:
        log: where it goes.
        place: the directory.
        upto: how far it was taken over before.
    """

    def __init__(self, log: Log, place: Path, upto: int) -> None:
        self._log = log
        self._place = place
        self._upto = upto
        self._source = type(log)(place)
        self._samples = 0

    def run(self) -> None:
        """Do it, as far as it can be done now.

        Raises:
            ConfigError: another process holds it, or it cannot be read.
        """
        self._source.open()
        try:
            done = self._all()
        finally:
            self._source.close()
        if not done:
            LOG.warning("%s is taken over at the next start", self._place)
            return
        for path in self._place.glob(f"{FILE}.*.damaged*"):
            path.rename(self._log.directory / f"{path.name}-{self._place.name}")
        self._delete()
        if not self._place.exists():
            self._log.receive(_forgets(self._place.name))
        told = "%s: %d samples that waited in %s are taken over"
        LOG.info(told, self._log.directory, self._samples, self._place.name)

    def _delete(self) -> None:
        """Delete the log, and the directory unless there are files of others in it."""
        if all(path.name.startswith(_OURS) for path in self._place.iterdir()):
            shutil.rmtree(self._place, ignore_errors=True)
            return
        for path in self._place.iterdir():
            if path.name.startswith(_OURS):
                with contextlib.suppress(OSError):
                    path.unlink()

    def _all(self) -> bool:
        """Take over everything; return whether that was done."""
        name = self._place.name
        while self._upto < ALL:
            step = self._rows() if self._upto < ALL_ROWS else self._asides()
            if step is None:
                return False
            upto, work = step

            def inside(intake: Intake, upto: int = upto, work: _Work = work) -> None:
                work(intake)
                intake.take_over(name, upto)

            if not self._log.receive(inside):
                return False
            self._upto = upto
        return True

    def _rows(self) -> tuple[int, _Work] | None:
        """Return how far the next rows go, and what puts them; None: they cannot be read now."""
        found: list[tuple[Row, object]] = []
        if not self._read(lambda rows: found.extend(rows.page(self._upto, AT_ONCE))):
            return None
        upto = found[-1][0].seq if found else ALL_ROWS

        def put(intake: Intake) -> None:
            for row, sealed in found:
                self._put(intake, row, sealed)

        return upto, put

    def _put(self, intake: Intake, row: Row, sealed: object) -> None:
        # Those that are equally far in the row stay together.
        by_start: dict[int, list[Cursor]] = {}
        for cursor in self._source.members(row.audience):
            if left := cursor.left_of(row.seq, row.length):
                mine = self._log.cursor(cursor.name)
                by_start.setdefault(row.length - left, []).append(mine)
                intake.change(mine).offered += left
                self._samples += left
        for start, cursors in by_start.items():
            try:
                data = bytes(open_row(sealed, *row))
                if start:
                    data, _ = compress(decompress(data)[start:])
            except DamagedRow as error:
                told = "%s: row %d is damaged and lost: %s"
                LOG.warning(told, self._place, row.seq, error)
                for cursor in cursors:
                    intake.change(cursor).dropped += row.length - start
            else:
                intake.put(cursors, row.at, row.length - start, row.again, data)

    def _asides(self) -> tuple[int, _Work] | None:
        """Do as `_rows`, for what was set aside; in the end for the totals."""
        found: list[tuple[Aside, object]] = []
        after = self._upto - ALL_ROWS
        if not self._read(lambda rows: found.extend(rows.aside_page(after, AT_ONCE))):
            return None
        if not found:
            return ALL, self._totals
        upto = ALL_ROWS + found[-1][0].number

        def put(intake: Intake) -> None:
            for aside, sealed in found:
                self._put_aside(intake, aside, sealed)

        return upto, put

    def _put_aside(self, intake: Intake, aside: Aside, sealed: object) -> None:
        for cursor in self._source.cursors:
            if cursor.id != aside.publisher:
                continue
            mine = self._log.cursor(cursor.name)
            change = intake.change(mine)
            change.offered += aside.length
            try:
                data = bytes(open_aside(sealed, *aside))
            except DamagedRow as error:
                told = "%s: row %d that was set aside is damaged and lost: %s"
                LOG.warning(told, self._place, aside.number, error)
                change.dropped += aside.length
            else:
                change.set_aside += aside.length
                intake.put_aside(mine, aside.at, aside.reason, aside.length, data)

    def _totals(self, intake: Intake) -> None:
        for cursor in self._source.cursors:
            change, counters = intake.change(self._log.cursor(cursor.name)), cursor.counters
            change.offered += counters.delivered + counters.dropped
            change.delivered += counters.delivered
            change.dropped += counters.dropped

    def _read(self, work: Callable[[Rows], None]) -> bool:
        return self._source.use(work) or not self._source.exists


def _forgets(name: str) -> _Work:
    return lambda intake: intake.take_over(name, None)
