# SPDX-License-Identifier: Apache-2.0
"""A publisher's place in the durable log, as its outlet sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from ceilo_agent.delivery.bounds import first_rows
from ceilo_agent.delivery.cursor import Cursor, Entry, Head
from ceilo_agent.delivery.entries import DamagedRow, compress, decompress, open_row
from ceilo_agent.delivery.queues import Counters, Refused, Taken
from ceilo_agent.delivery.rows import Rows
from ceilo_agent.delivery.shelf import Shelf
from ceilo_agent.sample import Sample


class Piece(NamedTuple):
    """A row that is taken, or a part of it.

    Attributes:
        seq: of the row.
        length: its samples.
        start: the first of them that is taken; `stop`: the first that is not.
        again: it was set aside before.
        audience: who else it is for; 0: this publisher at least.
        samples: all of the row; None: they are yet to be read from `data`.
        data: what `decompress` takes; of a damaged row what stands there.
        sound: whether it is what was written.
    """

    seq: int
    length: int
    start: int
    stop: int
    again: bool
    audience: int
    samples: Sequence[Sample] | None
    data: bytes | memoryview
    sound: bool = True

    @property
    def end(self) -> tuple[int, int]:
        """The place behind it."""
        return (self.seq, self.stop) if self.stop < self.length else (self.seq + 1, 0)


class Parcel(NamedTuple):
    """Samples that were refused for one reason, compressed; `unfit`: how many no bytes hold."""

    reason: str
    length: int
    data: bytes
    unfit: int


class Source(Protocol):
    """What a queue needs of the log."""

    def pieces(self, cursor: Cursor, most: int) -> list[Piece]:
        """Return the oldest rows of a publisher, until they have so many samples."""

    def lose(self, cursor: Cursor, piece: Piece, before: tuple[int, int]) -> None:
        """Drop a row that is damaged; what is taken ends before it."""

    def settle(
        self, cursor: Cursor, taken: Taken, delivered: int, parcels: Sequence[Parcel]
    ) -> None:
        """Go on behind what was taken."""

    def tell(self, cursor: Cursor, fault: str | None) -> None:
        """Note why a publisher cannot deliver."""


class LogQueue:
    """A publisher's cursor in the log: implements `queues.Queue`.

    Args:
        source: the log.
        cursor: of the publisher.

    Attributes:
        counters: what became of the samples since the log was begun, over restarts.
    """

    def __init__(self, source: Source, cursor: Cursor) -> None:
        self.counters: Counters = cursor.counters
        self._source = source
        self._cursor = cursor

    @property
    def name(self) -> str:
        """The publisher's; it changes with `Log.enroll`."""
        return self._cursor.name

    @property
    def waiting(self) -> int:
        """Samples that were offered and are not done."""
        return self._cursor.waiting

    def take(self, most: int) -> Taken | None:
        """Return the oldest samples, at most so many; all were set aside before, or none.

        None: nothing waits, or it cannot be read now; `listen` tells when that has changed.
        """
        cursor = self._cursor
        while pieces := self._source.pieces(cursor, most):
            samples: list[Sample] = []
            for number, piece in enumerate(pieces):
                try:
                    found = _read(piece)
                except DamagedRow:
                    before = pieces[number - 1].end if number else (cursor.seq, cursor.done)
                    self._source.lose(cursor, piece, before)
                    pieces = pieces[:number]
                    break
                if piece.stop < piece.length and piece.samples is None:
                    cursor.open_row = (piece.seq, found)
                samples += found[piece.start : piece.stop]
            if samples:
                return Taken(samples, pieces[-1].end, pieces[0].again)
        return None

    def done(self, taken: Taken, delivered: int, refused: Sequence[Refused]) -> None:
        """Go on behind what was taken last; what was refused is set aside with its reason."""
        by_reason: dict[str, list[Sample]] = {}
        for sample, reason in refused:
            by_reason.setdefault(reason, []).append(sample)
        parcels = []
        for reason, samples in by_reason.items():
            data, unfit = compress(samples)
            parcels.append(Parcel(reason, len(samples) - len(unfit), data, len(unfit)))
        self._source.settle(self._cursor, taken, delivered, parcels)

    def listen(self, added: Callable[[], None] | None) -> None:
        """Have a function called, on any thread, when there may be more to take."""
        self._cursor.added = added

    def tell(self, fault: str | None) -> None:
        """Note why the publisher cannot deliver; it is on disk with the next write or tick."""
        if fault != self._cursor.fault:
            self._source.tell(self._cursor, fault)

    def close(self) -> int:
        """Stop listening. What waits stays in the log; always 0."""
        self._cursor.added = None
        return 0


def _read(piece: Piece) -> Sequence[Sample]:
    if piece.samples is not None:
        return piece.samples
    if not piece.sound:
        raise DamagedRow("it is not what was written")
    found = decompress(piece.data)
    if len(found) != piece.length:
        raise DamagedRow(f"{len(found)} samples, {piece.length} were written")
    return found


def gather(shelf: Shelf, rows: Rows | None, cursor: Cursor, most: int) -> list[Piece]:
    """Return the oldest rows of a publisher, until they have so many samples.

    Args:
        shelf: what is in memory.
        rows: of the file; None if it cannot be read, or need not.
        cursor: of the publisher.
        most: samples that are wanted.

    Raises:
        DamagedFile: the file is.
        sqlite3.Error: it cannot be read.
    """
    pieces: list[Piece] = []
    for head in first_rows(cursor, rows, shelf.gone, most):
        start = cursor.done if head.seq == cursor.seq else 0
        stop = min(head.length, start + most)
        if head.entry is not None:
            content = _near(cursor, head.entry)
        else:
            assert rows is not None
            content = _far(rows, cursor, head)
        piece = Piece(head.seq, head.length, start, stop, *content)
        if pieces and pieces[0].again != piece.again:
            break
        pieces.append(piece)
        most -= stop - start
    return pieces


_Content = tuple[bool, int, Sequence[Sample] | None, bytes | memoryview, bool]
"""The last fields of a piece."""


def _near(cursor: Cursor, entry: Entry) -> _Content:
    samples = entry.samples
    if samples is None:
        samples = _read_before(cursor, entry.seq)
    return bool(entry.again), 0, samples, entry.data or b"", True


def _far(rows: Rows, cursor: Cursor, head: Head) -> _Content:
    row, sealed = rows.row(head.seq)
    data: bytes | memoryview = b""
    sound = True
    samples = _read_before(cursor, head.seq)
    if samples is None:
        try:
            data = open_row(sealed, *row)
        except DamagedRow:  # told when it is read
            data, sound = sealed if isinstance(sealed, bytes) else b"", False
    return bool(row.again), row.audience, samples, data, sound


def _read_before(cursor: Cursor, seq: int) -> Sequence[Sample] | None:
    read = cursor.open_row
    return read[1] if read is not None and read[0] == seq else None
