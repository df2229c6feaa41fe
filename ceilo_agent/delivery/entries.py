# SPDX-License-Identifier: Apache-2.0
"""Samples as they stand in the log: packed, compressed, and sealed in their place.

The compression is Zstandard (https://www.rfc-editor.org/rfc/rfc8878), at its level 1: further ones
cost more than they save. The seal is a CRC-32 over the bytes and over what else the row says:
SQLite notices no damage inside of its rows.
"""

from __future__ import annotations

import logging
import threading
import zlib
from collections.abc import Sequence
from typing import Final

import zstandard

from ceilo_agent.errors import CeiloAgentError
from ceilo_agent.messaging.packing import pack, unpack
from ceilo_agent.sample import Sample

LOG = logging.getLogger(__name__)

LEVEL: Final = 1

SEAL_BYTES: Final = 4

MAX_BYTES: Final = 1 << 30
"""Longer than any row that was written: what damaged bytes may claim is not believed beyond it."""

_local = threading.local()


class DamagedRow(CeiloAgentError, ValueError):
    """The bytes are not what was written."""


def compress(samples: Sequence[Sample]) -> tuple[bytes, Sequence[Sample]]:
    """Return samples as bytes, and those of them that no bytes can hold, which are left out."""
    unfit: Sequence[Sample] = ()
    try:
        data = pack(samples)
    except (ArithmeticError, LookupError, TypeError, ValueError):
        # A transformer of others made something that is no sample.
        unfit = [sample for sample in samples if not _can_be_packed(sample)]
        odd = set(map(id, unfit))
        data = pack([sample for sample in samples if id(sample) not in odd])
    compressor = getattr(_local, "compressor", None)
    if compressor is None:
        compressor = _local.compressor = zstandard.ZstdCompressor(level=LEVEL)
    return compressor.compress(data), unfit


def _can_be_packed(sample: Sample) -> bool:
    try:
        pack([sample])
    except (ArithmeticError, LookupError, TypeError, ValueError):
        return False
    return True


def decompress(data: bytes | memoryview) -> list[Sample]:
    """Return the samples that `compress` took.

    Raises:
        DamagedRow: these bytes are not from there.
    """
    decompressor = getattr(_local, "decompressor", None)
    if decompressor is None:
        decompressor = _local.decompressor = zstandard.ZstdDecompressor()
    try:
        if zstandard.frame_content_size(data) > MAX_BYTES:
            raise DamagedRow("they claim to be longer than anything that was written")
        return unpack(decompressor.decompress(data))
    except (zstandard.ZstdError, ValueError) as error:
        raise DamagedRow(str(error)) from error


def seal(data: bytes, *place: object) -> bytes:
    """Put a checksum before the bytes.

    Args:
        data: the bytes.
        place: what else of the row must be what it was.
    """
    return _checksum(data, place) + data


def unseal(sealed: object, *place: object) -> memoryview:
    """Return the bytes after the checksum.

    Raises:
        DamagedRow: they are not what was sealed in this place.
    """
    if isinstance(sealed, bytes):
        data = memoryview(sealed)[SEAL_BYTES:]
        if _checksum(data, place) == sealed[:SEAL_BYTES]:
            return data
    raise DamagedRow("they are not what was written")


def _checksum(data: bytes | memoryview, place: tuple[object, ...]) -> bytes:
    return zlib.crc32(repr(place).encode(), zlib.crc32(data)).to_bytes(SEAL_BYTES, "big")


# -- the rows of the two tables ------------------------------------------------------------------


def seal_row(data: bytes, seq: int, audience: int, at: float, count: int, again: int) -> bytes:
    """Return what stands in `log.samples`; `data` is from `compress`."""
    return seal(data, "log", seq, audience, at, count, again)


def open_row(
    sealed: object, seq: int, audience: int, at: float, count: int, again: int
) -> memoryview:
    """Return what `decompress` takes, of a row of `log`.

    Raises:
        DamagedRow: something in the row is not what was written.
    """
    return unseal(sealed, "log", seq, audience, at, count, again)


def seal_aside(
    data: bytes, number: int, publisher: int, at: float, reason: str, count: int
) -> bytes:
    """Return what stands in `aside.samples`; `data` is from `compress`."""
    return seal(data, "aside", number, publisher, at, reason, count)


def open_aside(
    sealed: object, number: int, publisher: int, at: float, reason: str, count: int
) -> memoryview:
    """Return what `decompress` takes, of a row of `aside`.

    Raises:
        DamagedRow: something in the row is not what was written.
    """
    return unseal(sealed, "aside", number, publisher, at, reason, count)
