# SPDX-License-Identifier: Apache-2.0
"""What can still be read of a damaged log, page by page, without SQLite.

SQLite gives up where a page on the way to a row is damaged. Here every page of the file is looked
at for itself: a row is found wherever its page and those that its samples go on in are whole. Its
checksum tells that it is what was written, its number whether it is an old one.

The format of the file and of its write-ahead log: https://www.sqlite.org/fileformat2.html.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from ceilo_agent.delivery.entries import DamagedRow, open_aside, open_row
from ceilo_agent.delivery.rows import Aside, Row
from ceilo_agent.delivery.schema import PAGE_BYTES

_LEAF: Final = 0x0D
"""The type of a page that holds rows of a table."""

_LOCAL: Final = PAGE_BYTES - 35
"""Bytes of a row that stand on its page; of longer ones a part goes on elsewhere."""

_LEAST: Final = (PAGE_BYTES - 12) * 32 // 255 - 23

_ON_OTHERS: Final = PAGE_BYTES - 4
"""Bytes of a row on each page that it goes on, behind the number of the next."""

_WAL_HEAD: Final = struct.Struct(">8I")
_FRAME_HEAD: Final = struct.Struct(">6I")
_WAL_MAGIC: Final = (0x377F0682, 0x377F0683)

_LENGTHS: Final = (0, 1, 2, 3, 4, 6, 8, 8, 0, 0)
"""Bytes of a value by its serial type."""


class Waiting(NamedTuple):
    """A row of `log` and its sealed samples."""

    row: Row
    samples: bytes


class SetAside(NamedTuple):
    """A row of `aside`, its sealed samples, and whether it is to be replayed."""

    aside: Aside
    samples: bytes
    replay: int


class Wreck:
    """A damaged file and its write-ahead log.

    Raises:
        OSError: it cannot be read at all.
    """

    def __init__(self, path: Path) -> None:
        self._files = contextlib.ExitStack()
        self._file, self._size = self._open(path)
        self._log = -1
        self._newer: Mapping[int, int] = {}
        with contextlib.suppress(OSError):
            self._log, size = self._open(Path(f"{path}-wal"))
            self._newer = _frames(self._log, size)
        # A write-ahead log names pages beyond the end of the file, and a damaged one any.
        self._pages = sorted({*range(1, self._size // PAGE_BYTES + 1), *self._newer})

    def close(self) -> None:
        """Let go of them."""
        self._files.close()

    def rows(self) -> Iterator[Waiting | SetAside]:
        """Yield every row that is whole, in no order; old ones among them."""
        free = self._free()
        for number in self._pages:
            if number in free:
                continue
            page = self._page(number)
            if page is not None and page[100 if number == 1 else 0] == _LEAF:
                for rowid, payload in self._cells(page, 100 if number == 1 else 0):
                    found = _row(rowid, payload)
                    if found is not None:
                        yield found

    def _open(self, path: Path) -> tuple[int, int]:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._files.callback(os.close, file)
        return file, os.fstat(file).st_size

    def _page(self, number: int) -> bytes | None:
        """Return a page, None if it is not there or cannot be read."""
        newer = self._newer.get(number)
        if number < 1 or (newer is None and number > self._size // PAGE_BYTES):
            return None
        try:
            if newer is None:
                page = os.pread(self._file, PAGE_BYTES, (number - 1) * PAGE_BYTES)
            else:
                page = os.pread(self._log, PAGE_BYTES, newer)
        except OSError:
            return None
        return page if len(page) == PAGE_BYTES else None

    def _free(self) -> set[int]:
        """Return the pages that are not in use, as far as that can be told."""
        found: set[int] = set()
        first = self._page(1)
        trunk = 0 if first is None else int.from_bytes(first[32:36], "big")
        while trunk not in found and (page := self._page(trunk)) is not None:
            found.add(trunk)
            trunk, count = struct.unpack_from(">2I", page)
            leaves = min(count, PAGE_BYTES // 4 - 2)
            found.update(struct.unpack_from(f">{leaves}I", page, 8))
        return found

    def _cells(self, page: bytes, start: int) -> Iterator[tuple[int, bytes]]:
        """Yield number and bytes of each row on a page."""
        count = int.from_bytes(page[start + 3 : start + 5], "big")
        for index in range(min(count, PAGE_BYTES // 4)):
            pointer = start + 8 + 2 * index
            offset = int.from_bytes(page[pointer : pointer + 2], "big")
            try:
                length, at = _varint(page, offset)
                rowid, at = _varint(page, at)
            except IndexError:
                continue
            payload = self._payload(page, at, length)
            if payload is not None:
                yield rowid, payload

    def _payload(self, page: bytes, at: int, length: int) -> bytes | None:
        if length <= _LOCAL:
            found = page[at : at + length]
            return found if len(found) == length else None
        if length > len(self._pages) * PAGE_BYTES:
            return None
        local = _LEAST + (length - _LEAST) % _ON_OTHERS
        if local > _LOCAL:
            local = _LEAST
        parts = [page[at : at + local]]
        left = length - local
        following = int.from_bytes(page[at + local : at + local + 4], "big")
        while left > 0:
            other = self._page(following)
            if other is None:
                return None
            parts.append(other[4 : 4 + min(left, _ON_OTHERS)])
            left -= _ON_OTHERS
            following = int.from_bytes(other[:4], "big")
        return b"".join(parts)


def _frames(log: int, size: int) -> dict[int, int]:
    """Return where in a write-ahead log the newest version of each page is."""
    found: dict[int, int] = {}
    head = os.pread(log, _WAL_HEAD.size, 0)
    if len(head) < _WAL_HEAD.size:
        return found
    magic, _, page_bytes, _, *salt = _WAL_HEAD.unpack(head)[:6]
    if magic not in _WAL_MAGIC or page_bytes != PAGE_BYTES:
        return found
    pending: dict[int, int] = {}
    step = _FRAME_HEAD.size + PAGE_BYTES
    for offset in range(_WAL_HEAD.size, size - step + 1, step):
        frame = os.pread(log, _FRAME_HEAD.size, offset)
        page, commit, *mine = _FRAME_HEAD.unpack(frame)[:4]
        if mine != salt:
            break
        pending[page] = offset + _FRAME_HEAD.size
        if commit:
            found.update(pending)
            pending.clear()
    return found


def _row(rowid: int, payload: bytes) -> Waiting | SetAside | None:
    """Return the row that the bytes are, None if they are something else or damaged."""
    values = _values(payload)
    if values is None:
        return None
    try:
        match values:
            # SQLite writes a whole number short, also where the column is REAL.
            case [None, int(audience), int() | float() as at, int(count), int(again), int(),
                  bytes(samples)]:  # fmt: skip
                row = Row(rowid, audience, float(at), count, again)
                open_row(samples, *row)
                return Waiting(row, samples)
            case [None, int(publisher), int() | float() as at, str(reason), int(count),
                  bytes(samples), int(replay)]:  # fmt: skip
                aside = Aside(rowid, publisher, float(at), reason, count)
                open_aside(samples, *aside)
                return SetAside(aside, samples, replay)
    except DamagedRow:
        pass
    return None


def _values(payload: bytes) -> list[Any] | None:
    """Return the columns of a row, None if the bytes are none."""
    found: list[Any] = []
    try:
        head, at = _varint(payload, 0)
        place = head
        while at < head:
            kind, at = _varint(payload, at)
            length = _LENGTHS[kind] if kind < len(_LENGTHS) else (kind - 12) // 2
            if len(found) > len(_LENGTHS) or place + length > len(payload) or kind in {10, 11}:
                return None
            found.append(_value(kind, payload[place : place + length]))
            place += length
    except (IndexError, UnicodeDecodeError):
        return None
    return found


def _value(kind: int, data: bytes) -> Any:
    if kind == 0:
        return None
    if kind == 7:
        return struct.unpack(">d", data)[0]
    if kind in {8, 9}:
        return kind - 8
    if kind < 7:
        return int.from_bytes(data, "big", signed=True)
    return data.decode() if kind % 2 else data


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the number at a place, and the place behind it."""
    value = 0
    for index in range(8):
        byte = data[at + index]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + index + 1
    return value << 8 | data[at + 8], at + 9
