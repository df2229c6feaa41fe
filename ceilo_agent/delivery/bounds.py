# SPDX-License-Identifier: Apache-2.0
"""Drops the oldest of what waits where a bound is reached.

What is dropped is counted at once; the file follows with the transaction at hand or the next one.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import Final, NamedTuple

from ceilo_agent.delivery.amounts import size, span
from ceilo_agent.delivery.cursor import Cursor, Head
from ceilo_agent.delivery.rows import Rows
from ceilo_agent.delivery.shelf import HELD_BYTES, Shelf

PAGE: Final = 64
"""Rows that are looked up at once."""


class Limits(NamedTuple):
    """Bounds of what waits; the oldest samples go first, counted and told.

    Attributes:
        max_bytes: on disk, of what waits and what was set aside.
        max_samples: that wait for one publisher; 0: any number.
        max_age: seconds that samples may wait.
    """

    max_bytes: int = 2 << 30
    max_samples: int = 0
    max_age: float = 7 * 86400.0


class Bound(enum.Enum):
    """What samples are dropped for."""

    BYTES = enum.auto()
    SAMPLES = enum.auto()
    AGE = enum.auto()
    MEMORY = enum.auto()
    """They could not be written."""


def told(bound: Bound, limits: Limits, used: int, waiting: int) -> str:
    """Return a bound in words: its option, its value and how full it is.

    Args:
        bound: that was reached.
        limits: in force.
        used: bytes in the file.
        waiting: samples that wait for the publisher.
    """
    match bound:
        case Bound.BYTES:
            return f"[delivery] max_bytes is {size(limits.max_bytes)}, {size(used)} are in use"
        case Bound.SAMPLES:
            return f"[delivery] max_samples is {limits.max_samples}, {waiting} wait"
        case Bound.AGE:
            return f"[delivery] max_age is {span(limits.max_age)}, they waited for longer"
        case Bound.MEMORY:
            return f"they cannot be written, and memory holds {size(HELD_BYTES)} of such at most"


def heads(cursor: Cursor, rows: Rows | None, gone: set[int]) -> Iterator[Head]:
    """Yield the rows that wait for a publisher, in order; none if they cannot be read now.

    The cursor must not be moved meanwhile.
    """
    seq = cursor.seq
    while cursor.far:
        if rows is None:
            return
        found = rows.heads(cursor.audiences, seq, cursor.far, PAGE)
        yield from (head for head in found if head.seq not in gone)
        if len(found) < PAGE:
            break
        seq = found[-1].seq + 1
    for entry in cursor.near:
        yield Head(entry.seq, entry.at, entry.count, entry)


def drop_beyond(cursor: Cursor, rows: Rows | None, gone: set[int], most: int) -> int:
    """Drop samples of one publisher until no more than `most` wait; return how many."""
    excess = lost = cursor.waiting - most
    if excess <= 0:
        return 0
    for head in first_rows(cursor, rows, gone, excess):
        start = cursor.done if cursor.seq == head.seq else 0
        excess -= cursor.drop(head.seq, head.length, min(head.length, start + excess))
    return lost - excess


def first_rows(cursor: Cursor, rows: Rows | None, gone: set[int], samples: int) -> list[Head]:
    """Return the first rows that wait, until they have so many samples."""
    found = []
    for head in heads(cursor, rows, gone):
        found.append(head)
        samples -= head.length - (cursor.done if cursor.seq == head.seq else 0)
        if samples <= 0:
            break
    return found


def drop_before(cursor: Cursor, rows: Rows | None, gone: set[int], moment: float) -> int:
    """Drop samples of one publisher that were accepted before a moment; return how many."""
    old = []
    for head in heads(cursor, rows, gone):
        if head.at >= moment:
            break
        old.append(head)
    return sum(cursor.drop(head.seq, head.length) for head in old)


def drop_upto(cursor: Cursor, rows: Rows | None, gone: set[int], seq: int) -> int:
    """Drop samples of one publisher up to a row; return how many."""
    old = []
    for head in heads(cursor, rows, gone):
        if head.seq > seq:
            break
        old.append(head)
    return sum(cursor.drop(head.seq, head.length) for head in old)


class Room(NamedTuple):
    """What was deleted: the bytes that it cost, and how many samples, by publisher.

    Attributes:
        freed: bytes.
        lost: samples that waited.
        asides: samples that were set aside; not counted yet.
    """

    freed: int
    lost: dict[Cursor, int]
    asides: dict[Cursor, int]


def make_room(shelf: Shelf, rows: Rows, excess: int) -> Room:
    """Delete the oldest rows of the file, in a transaction, until so many bytes are free."""
    freed, lost, asides = 0, dict[Cursor, int](), dict[Cursor, int]()
    by_id = {cursor.id: cursor for cursor in shelf.cursors.values()}
    while freed < excess:
        row, aside = rows.oldest(), rows.oldest_aside()
        if row is not None and (aside is None or row.at <= aside.at):
            for cursor in shelf.members.get(row.audience, ()):
                if count := cursor.drop(row.seq, row.length):
                    lost[cursor] = lost.get(cursor, 0) + count
            freed += rows.delete(row.seq)
        elif aside is not None:
            owner = by_id.get(aside.publisher)
            if owner is not None:
                asides[owner] = asides.get(owner, 0) + aside.length
            freed += rows.delete_aside(aside.number)
        else:
            break
    return Room(freed, lost, asides)
