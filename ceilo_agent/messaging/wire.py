# SPDX-License-Identifier: Apache-2.0
"""Our own format on the bus: samples of one source as bytes, compressed, and signed once.

`doc/source/wire.rst` has it byte by byte. A frame is a header of 32 bytes (magic, version, flags,
when it was made, its id), the HMAC-SHA256 of all else if it is signed, and a Zstandard frame of one
MessagePack array: tables of what samples share, and a column for each of their attributes.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import struct
import threading
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Final, NamedTuple

import msgspec
import zstandard

from ceilo_agent.messaging.columns import Changes, changes, history, table
from ceilo_agent.messaging.keys import Keys
from ceilo_agent.messaging.message import Reason, Rejected
from ceilo_agent.messaging.packing import check_column, check_tables, cleaned, plain
from ceilo_agent.sample import Meter, Resource, Sample, Volume

MAGIC: Final = b"ceAg"

VERSION: Final = 1
"""A reader takes its own version, the one before and the next."""

SIGNED: Final = 0x01
IGNORABLE: Final = 0x0F
"""Flags that a reader which does not know them may pass over; with any other it must not read."""

_HEADER: Final = struct.Struct(">4sBBxxd16s")
SIGNATURE_BYTES: Final = 32

LEVEL: Final = 1
"""Of Zstandard: further ones cost more than they save."""

MAX_FRAME: Final = 128 << 20
MAX_BODY: Final = 256 << 20
"""Bytes of a frame and of its body that a reader takes; what claims more is not opened."""

EARLIEST: Final = 0.0
LATEST: Final = 253402300799.0
"""Of times: 1970 to 9999, what a date can be made of."""

_Index = Annotated[int, msgspec.Meta(ge=0)]

_local = threading.local()


class Envelope(msgspec.Struct, frozen=True, gc=False):
    """What one frame holds.

    Attributes:
        id: 16 bytes that follow from what it holds: one that comes twice can be told.
        host: who polled.
        sent: when it was made, by the clock of that host, UTC seconds.
        queues: how many topics its sender spreads hosts over.
        source: the source that polled, None: each sample is matched by its meter.
        samples: in order of time per series.
    """

    id: bytes
    host: str
    sent: float
    queues: int
    source: str | None
    samples: Sequence[Sample]


class Body(msgspec.Struct, array_like=True, gc=False):
    """The MessagePack array. Later versions append to it; those must have defaults.

    Attributes:
        host, queues, source: as in `Envelope`.
        meters: each once, ``[name, unit, type]``; resources likewise,
            ``[id, project_id, user_id, type, metadata]``.
        meter: for each sample the index of its meter; `resource` likewise.
        time, volume, started: of each sample.
        elapsed: of the reading before, in seconds; true: it is the first; false: not known.
        change: what the volume gained since then if `relative`, else the volume then; 0 without a
            reading before.
        relative: how `change` is to be read.
    """

    host: str
    queues: _Index
    source: str | None
    meters: list[Meter]
    resources: list[Resource]
    meter: list[_Index]
    resource: list[_Index]
    time: list[float]
    volume: list[Volume]
    started: list[float | None]
    elapsed: list[float | bool]
    change: list[Volume]
    relative: bool


_ENCODER: Final = msgspec.msgpack.Encoder(enc_hook=plain)
_DECODER: Final = msgspec.msgpack.Decoder(Body)


def encode(
    samples: Sequence[Sample],
    *,
    host: str,
    source: str | None,
    sent: float,
    queues: int,
    keys: Keys,
    max_bytes: int,
) -> list[bytes]:
    """Return samples of one source as frames; more than one if they would be too large.

    Metadata never stops it: what no bytes hold is put as near as can be.

    Args:
        samples: at least one.
        host: who polled.
        source: the source that polled.
        sent: now, UTC seconds.
        queues: how many topics hosts are spread over.
        keys: the current one signs.
        max_bytes: of each as base64.

    Raises:
        ValueError: one sample alone is too large.
        OverflowError, TypeError, UnicodeEncodeError: something is no sample, as `pack` tells.
    """
    frame = _frame(samples, host, source, sent, queues, keys)
    if (len(frame) + 2) // 3 * 4 <= max_bytes:
        return [frame]
    if len(samples) == 1:
        what = f"its metadata are too large for a message of {max_bytes} bytes"
        raise ValueError(f"{samples[0].meter.name} of {samples[0].resource.id}: {what}")
    half = len(samples) // 2
    more = {
        "host": host, "source": source, "sent": sent, "queues": queues, "keys": keys,
        "max_bytes": max_bytes,
    }  # fmt: skip
    return [*encode(samples[:half], **more), *encode(samples[half:], **more)]  # type: ignore[arg-type]


def decode(data: bytes, keys: Keys, max_body: int = MAX_BODY) -> Envelope:
    """Return what a frame holds.

    Args:
        data: any bytes.
        keys: with any that is accepted, a frame must be signed with it.
        max_body: bytes that its body may have.

    Raises:
        Rejected: it is no frame, or none for us; nothing else comes out.
    """
    header, rest = _checked(data, keys)
    try:
        return _envelope(header, _DECODER.decode(_decompressed(rest, max_body)))
    except zstandard.ZstdError as error:
        raise Rejected(Reason.MALFORMED, f"its body cannot be decompressed: {error}") from error
    except Rejected:
        raise
    except (ValueError, RecursionError, MemoryError, OverflowError) as error:
        raise Rejected(Reason.MALFORMED, f"its body is no batch: {error}") from error


def _frame(
    samples: Sequence[Sample],
    host: str,
    source: str | None,
    sent: float,
    queues: int,
    keys: Keys,
) -> bytes:
    meters, meter = table([sample.meter for sample in samples])
    resources, resource = table([sample.resource for sample in samples])
    check_tables(meters, resources, (source,))
    time = [sample.time for sample in samples]
    volume = [sample.volume for sample in samples]
    started = [sample.started for sample in samples]
    for name, column in (("time", time), ("volume", volume), ("started", started)):
        check_column(name, column)
    elapsed, change, relative = changes(samples)
    check_column("elapsed", elapsed)
    check_column("before", change)
    body = Body(
        host, queues, source, meters, resources, meter, resource,
        time, volume, started, elapsed, change, relative,
    )  # fmt: skip
    try:
        data = _ENCODER.encode(body)
    except (OverflowError, RecursionError, UnicodeEncodeError):
        body.resources = cleaned(body.resources)
        data = _ENCODER.encode(body)
    compressor = getattr(_local, "compressor", None)
    if compressor is None:
        compressor = _local.compressor = zstandard.ZstdCompressor(level=LEVEL)
    data = compressor.compress(data)
    # Made of what it holds: who sends it once more, for want of an answer, sends the same.
    made = hashlib.blake2b(data, digest_size=16).digest()
    header = _HEADER.pack(MAGIC, VERSION, SIGNED if keys.current else 0, sent, made)
    return header + (_sign(keys.current, header, data) if keys.current else b"") + data


def _sign(key: bytes, header: bytes, data: bytes | memoryview) -> bytes:
    return hmac.digest(key, header + data, "sha256")


class _Header(NamedTuple):
    sent: float
    id: bytes


def _checked(data: bytes, keys: Keys) -> tuple[_Header, memoryview]:
    """Return the header and the body of a frame, after all that can be told without opening it."""
    if len(data) > MAX_FRAME:
        raise Rejected(Reason.TOO_LARGE, f"it has {len(data)} bytes")
    if len(data) < _HEADER.size or not data.startswith(MAGIC):
        raise Rejected(Reason.MALFORMED, "it does not begin as a batch does")
    _, version, flags, sent, number = _HEADER.unpack_from(data)
    if not VERSION - 1 <= version <= VERSION + 1:
        words = f"it is of version {version}, {VERSION} and its neighbours are understood"
        raise Rejected(Reason.VERSION, words)
    if flags & ~IGNORABLE:
        raise Rejected(Reason.VERSION, f"it has flags that are not known ({flags:#04x})")
    view = memoryview(data)
    start = _HEADER.size + (SIGNATURE_BYTES if flags & SIGNED else 0)
    if keys.accepted:
        if not flags & SIGNED:
            raise Rejected(Reason.SIGNATURE, "it is not signed")
        made = [_sign(key, data[: _HEADER.size], view[start:]) for key in keys.accepted]
        # All are compared, whichever fits.
        if not sum([hmac.compare_digest(view[_HEADER.size : start], each) for each in made]):
            raise Rejected(Reason.SIGNATURE, "it is signed with a secret that is not known")
    return _Header(sent, number), view[start:]


def _decompressed(data: memoryview, max_body: int) -> bytes:
    """Return the body of a frame.

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
    body: bytes = decompressor.decompress(data)
    return body


def _envelope(header: _Header, body: Body) -> Envelope:
    columns: tuple[list[Any], ...] = (
        body.meter, body.resource, body.time, body.volume, body.started, body.elapsed, body.change,
    )  # fmt: skip
    if len({len(column) for column in columns}) != 1:
        raise ValueError("its columns differ in length")
    _check_times([header.sent])
    _check_times(body.time)
    _check_times([each for each in set(body.started) if each is not None])
    previous = history(Changes(body.elapsed, body.change, body.relative), body.volume)
    source = body.source
    try:
        samples = list(
            map(
                Sample,
                map(body.meters.__getitem__, body.meter),
                map(body.resources.__getitem__, body.resource),
                body.time,
                body.volume,
                previous,
                body.started,
                [source] * len(body.time),
            )
        )
    except IndexError as error:
        raise ValueError("it names a meter or a resource that it does not have") from error
    return Envelope(header.id, body.host, header.sent, body.queues, source, samples)


def _check_times(times: Iterable[float]) -> None:
    found = list(times)
    # A sum is not finite if a part is not; the comparisons would not tell.
    if found and not (
        math.isfinite(math.fsum(found)) and min(found) >= EARLIEST and max(found) <= LATEST
    ):
        raise ValueError("a time in it is no date")
