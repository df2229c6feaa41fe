# SPDX-License-Identifier: Apache-2.0
"""Takes up what is in the files, after whatever became of them, and counts what is missing."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

from ceilo_agent.delivery.ledger import Record, State
from ceilo_agent.delivery.logfile import LogFile
from ceilo_agent.delivery.rows import DamagedFile, Rows
from ceilo_agent.delivery.salvage import Waiting, Wreck
from ceilo_agent.delivery.schema import TAKEN_OVER
from ceilo_agent.delivery.shelf import Shelf

LOG = logging.getLogger(__name__)

AT_ONCE: Final = 256
"""Rows that are saved in one transaction."""

NOTHING: Final = State(0, [], {})


class Saved(NamedTuple):
    """What was saved from damaged files: rows, and samples in them."""

    rows: int
    samples: int


def known(rows: Rows | None, ledger: State | None, wrecks: Sequence[Path]) -> State:
    """Return what is known of the publishers: what changed last, wherever it was written.

    Args:
        rows: of the file, None without one.
        ledger: the second copy, if it can be read.
        wrecks: damaged files; they are asked where nothing else tells.
    """
    mine = _read(rows) if rows is not None else NOTHING
    if not mine.publishers and ledger is None:
        for path in wrecks:
            mine = _ask(path) or mine
    other = ledger or NOTHING
    records: dict[int, Record] = {record.id: record for record in mine.publishers}
    names = {record.name: record.id for record in mine.publishers}
    for record in other.publishers:
        before = records.get(record.id)
        if names.get(record.name, record.id) == record.id and (
            before is None or record.turn >= before.turn
        ):
            records[record.id] = record
    # Of row `seq` a part may be done: a new row must not have its number.
    seqs = [mine.seq, other.seq, *(record.seq for record in records.values() if record.done)]
    seqs += [record.seq - 1 for record in records.values()]
    # A new file knows nothing; of another one the second copy may be an old one.
    taken_over = mine.taken_over if mine.publishers else other.taken_over
    return State(max(seqs), list(records.values()), other.audiences | mine.audiences, taken_over)


def _read(rows: Rows) -> State:
    taken_over = {n: upto for n, upto in rows.taken_over().items() if n.startswith(TAKEN_OVER)}
    return State(rows.last(), rows.publishers(), rows.audiences(), taken_over)


def _ask(path: Path) -> State | None:
    """Return what a damaged file tells of its publishers, None if that cannot be read."""
    uri = f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1"
    with (
        contextlib.suppress(sqlite3.Error, DamagedFile),
        contextlib.closing(sqlite3.connect(uri, uri=True)) as db,
    ):
        rows = Rows(db)
        state = State(0, rows.publishers(), rows.audiences())
        with contextlib.suppress(sqlite3.Error, DamagedFile):
            state.seq = rows.last()
        return state
    return None


def save(file: LogFile, shelf: Shelf, now: float) -> list[tuple[Path, Saved]]:
    """Put the rows of damaged files that still wait into the file, and set those files aside.

    It may be interrupted anywhere: done once more, it goes on.

    Returns:
        Where each damaged file is now, and what was saved from it.

    Raises:
        OSError: a damaged file cannot be read or moved.
        sqlite3.Error: it cannot be written.
    """
    found = []
    for path in file.wounded():
        saved = _save(file, shelf, path)
        found.append((file.set_aside(path, now), saved))
    return found


def _save(file: LogFile, shelf: Shelf, path: Path) -> Saved:
    assert file.db is not None
    rows, count, samples = Rows(file.db), 0, 0
    publishers = {cursor.id for cursor in shelf.cursors.values()}
    with contextlib.closing(Wreck(path)) as wreck:
        found = wreck.rows()
        more = True
        while more:
            more = False
            with file.transaction():
                for _, each in zip(range(AT_ONCE), found, strict=False):
                    more = True
                    if isinstance(each, Waiting):
                        row = each.row
                        members = shelf.members.get(row.audience, ())
                        left = max((c.left_of(row.seq, row.length) for c in members), default=0)
                        if not left or row.seq in shelf.gone:
                            continue
                        rows.put_back(row, each.samples)
                        shelf.seq = max(shelf.seq, row.seq)
                        length = row.length
                    else:
                        aside = each.aside
                        if aside.publisher not in publishers:
                            continue
                        rows.put_aside(aside, each.samples, each.replay)
                        length = aside.length
                    count, samples = count + 1, samples + length
    return Saved(count, samples)


def reconcile(rows: Rows | None, shelf: Shelf) -> Mapping[str, int]:
    """Count as dropped what should wait, or be set aside, and is nowhere.

    Args:
        rows: of the file, None without one.
        shelf: what is in memory.

    Returns:
        How many samples, by publisher.
    """
    missing: dict[str, int] = {}
    asides = rows.asides() if rows is not None else {}
    last = rows.last() if rows is not None else 0
    twice = [each for each in shelf.unstored if rows is not None and rows.has(each.seq)]
    gone = [rows.row(seq)[0] for seq in shelf.gone if rows is not None and rows.has(seq)]
    for cursor in shelf.cursors.values():
        in_file = 0
        if rows is not None:
            in_file = rows.waiting(cursor.audiences, cursor.seq, cursor.done)
            in_file -= sum(e.left(cursor) for e in twice if cursor in e.cursors)
            mine = [row for row in gone if row.audience in cursor.audiences]
            in_file -= sum(cursor.left_of(row.seq, row.length) for row in mine)
        cursor.far = 0
        if in_file:
            cursor.far = cursor.near[0].seq - 1 if cursor.near else last
        lost = cursor.waiting - in_file - cursor.held()
        aside = asides.get(cursor.id, 0) + shelf.held_aside(cursor)
        lost_aside = cursor.counters.set_aside - aside
        if lost or lost_aside:
            # More than was known: the counters are older than the rows.
            cursor.counters.offered += max(0, -lost) + max(0, -lost_aside)
            cursor.counters.dropped += max(0, lost) + max(0, lost_aside)
            cursor.counters.set_aside = aside
            cursor.turn += 1
        if lost > 0 or lost_aside > 0:
            missing[cursor.name] = max(0, lost) + max(0, lost_aside)
    return missing
