# SPDX-License-Identifier: Apache-2.0
"""A second copy of the log's cursors and counters: it tells what a damaged log has lost.

It is written in place after each transaction, and when one failed since the disk is full: so it
also tells of samples that were held in memory when the process was killed.
"""

from __future__ import annotations

import contextlib
import os
import zlib
from pathlib import Path
from typing import Final

import msgspec

from ceilo_agent.delivery.queues import Counters

BLOCK: Final = 4096
"""Its size is a multiple of this: to write it again needs no space on the disk."""

_MAGIC: Final = b"cawL\x01"


class Record(msgspec.Struct, array_like=True):
    """Where a publisher stands: a row of the table `publisher`."""

    id: int
    name: str
    seq: int
    done: int
    counters: Counters
    seen: float
    turn: int


class State(msgspec.Struct, array_like=True):
    """All that the log must not forget.

    Attributes:
        seq: the highest that was given to a row.
        publishers: in no order.
        audiences: ids of publishers by the number of their audience.
        taken_over: how far logs of other workers were taken over, by directory.
    """

    seq: int
    publishers: list[Record]
    audiences: dict[int, list[int]]
    taken_over: dict[str, int] = {}


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(State)


class Ledger:
    """The file; it costs nobody anything if it cannot be written or read.

    Args:
        path: made with the first `write`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        self._blocks = 0

    def read(self) -> State | None:
        """Return what was written last, None if that cannot be told."""
        try:
            data = self._path.read_bytes()
            if data[: len(_MAGIC)] != _MAGIC:
                return None
            head = len(_MAGIC) + 8
            length = int.from_bytes(data[len(_MAGIC) : head - 4], "big")
            body = data[head : head + length]
            if zlib.crc32(body).to_bytes(4, "big") != data[head - 4 : head]:
                return None
            return _DECODER.decode(body)
        except (OSError, msgspec.DecodeError):
            return None

    def write(self, state: State) -> None:
        """Write it in the place of what was written last."""
        body = _ENCODER.encode(state)
        head = _MAGIC + len(body).to_bytes(4, "big") + zlib.crc32(body).to_bytes(4, "big")
        blocks = -(-(len(head) + len(body)) // BLOCK)
        data = head + body
        if blocks != self._blocks:
            data = data.ljust(blocks * BLOCK, b"\0")
        try:
            if self._file is None:
                flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
                self._file = os.open(self._path, flags, 0o640)
            os.pwrite(self._file, data, 0)
            self._blocks = blocks
        except OSError:
            self._blocks = 0

    def close(self) -> None:
        """Let go of the file; the next `write` makes it anew if it is gone."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.close(self._file)
        self._file, self._blocks = None, 0
