# SPDX-License-Identifier: Apache-2.0
"""What is around the samples of a batch: a header, a signature, and Zstandard.

`doc/source/wire.rst` has it byte by byte.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
import threading
from typing import Final, NamedTuple

import zstandard

from ceilo_agent.messaging.keys import Keys
from ceilo_agent.messaging.message import Reason, Rejected

MAGIC: Final = b"ceAg"
"""Each frame begins so; as it is signed, too, no signature of something else fits a frame."""

VERSION: Final = 1
FIRST_VERSION: Final = 1

SIGNED: Final = 0x01
IGNORABLE: Final = 0x0E
"""Flags that a reader which does not know them passes over; with any other it must not read on."""

HEADER: Final = struct.Struct(">4sBBxxd16s")
SIGNATURE_BYTES: Final = 32

LEVEL: Final = 3
"""Of Zstandard: 6 % smaller than 1, for 3 % of the time of `wire.encode`; 5 is no smaller."""

MAX_BODY: Final = 4 << 20
"""Bytes of a body. They bound what a hostile one can become in memory, some 70 times as much."""

MAX_FRAME: Final = MAX_BODY + (MAX_BODY >> 8) + 1024
"""Bytes of a frame: what Zstandard makes of the largest body that it cannot compress."""

_local = threading.local()


class Header(NamedTuple):
    """What is known of a frame before it is opened.

    Attributes:
        sent: UTC seconds, any float.
        id: 16 bytes.
    """

    sent: float
    id: bytes


def seal(body: bytes, sent: float, keys: Keys) -> bytes:
    """Return a body as a frame; the current key, if there is one, signs it."""
    compressor = getattr(_local, "compressor", None)
    if compressor is None:
        compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True)
        _local.compressor = compressor
    data = compressor.compress(body)
    # Made of what it holds: who sends it once more, for want of an answer, sends the same.
    number = hashlib.blake2b(data, digest_size=16).digest()
    header = HEADER.pack(MAGIC, VERSION, SIGNED if keys.current else 0, sent, number)
    return header + (_sign(keys.current, header, data) if keys.current else b"") + data


def unseal(data: bytes, keys: Keys, max_body: int) -> tuple[Header, bytes]:
    """Return the header and the body of a frame.

    Args:
        data: any bytes.
        keys: with any that is accepted, it must be signed with one.
        max_body: bytes that its body may have.

    Raises:
        Rejected: it is no frame, or none for us.
    """
    header, rest = _checked(data, keys)
    try:
        return header, _decompressed(rest, max_body)
    except (zstandard.ZstdError, MemoryError) as error:
        raise Rejected(Reason.MALFORMED, f"its body cannot be decompressed: {error}") from error


def _sign(key: bytes, header: bytes, data: bytes | memoryview) -> bytes:
    return hmac.digest(key, header + data, "sha256")


def _checked(data: bytes, keys: Keys) -> tuple[Header, memoryview]:
    """Return the header and the rest of a frame, after all that can be told without opening it."""
    if len(data) > MAX_FRAME:
        raise Rejected(Reason.TOO_LARGE, f"it has {len(data)} bytes")
    if len(data) < HEADER.size or not data.startswith(MAGIC):
        raise Rejected(Reason.MALFORMED, "it does not begin as a batch does")
    _, version, flags, sent, number = HEADER.unpack_from(data)
    if not max(FIRST_VERSION, VERSION - 1) <= version <= VERSION + 1:
        words = f"it is of version {version}, {VERSION} and its neighbours are understood"
        raise Rejected(Reason.VERSION, words)
    if flags & ~(SIGNED | IGNORABLE):
        raise Rejected(Reason.VERSION, f"it has flags that are not known ({flags:#04x})")
    view = memoryview(data)
    start = HEADER.size + (SIGNATURE_BYTES if flags & SIGNED else 0)
    if keys.accepted:
        if not flags & SIGNED:
            raise Rejected(Reason.SIGNATURE, "it is not signed")
        made = [_sign(key, data[: HEADER.size], view[start:]) for key in keys.accepted]
        # All are compared, whichever fits.
        if not sum([hmac.compare_digest(view[HEADER.size : start], each) for each in made]):
            raise Rejected(Reason.SIGNATURE, "it is signed with a secret that is not known")
    return Header(sent, number), view[start:]


def _decompressed(data: memoryview, max_body: int) -> bytes:
    """Return what was compressed.

    Raises:
        Rejected: it does not say how large it is, or is too large.
        zstandard.ZstdError: it is damaged.
    """
    size = zstandard.frame_content_size(data)
    if size < 0:
        raise Rejected(Reason.MALFORMED, "its body does not say how large it is")
    if size > max_body:
        raise Rejected(Reason.TOO_LARGE, f"its body claims to have {size} bytes")
    decompressor = getattr(_local, "decompressor", None)
    if decompressor is None:
        decompressor = _local.decompressor = zstandard.ZstdDecompressor()
    body: bytes = decompressor.decompress(data, allow_extra_data=False)
    return body
