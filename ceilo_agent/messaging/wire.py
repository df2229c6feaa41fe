# SPDX-License-Identifier: Apache-2.0
"""Our own format on the bus: samples of one source as bytes, compressed, and signed once.

`doc/source/wire.rst` has it byte by byte. The body of a frame is one MessagePack array: tables of
what samples share, and a column for each of their attributes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec
from msgspec import Meta

from ceilo_agent.messaging.columns import Change, changes, history, table
from ceilo_agent.messaging.frame import MAX_BODY, Header, seal, unseal
from ceilo_agent.messaging.keys import Keys
from ceilo_agent.messaging.message import Reason, Rejected, Unsendable
from ceilo_agent.messaging.packing import check_tables, clean, cleaned, plain
from ceilo_agent.sample import Meter, Resource, Sample, SampleType, Volume

MAX_SAMPLES: Final = 1 << 16

LATEST: Final = 253402300799.0
"""Of times, and of seconds between two: the end of the year 9999. The first is that of 1970."""

Metadata = TypeVar("Metadata")

_Flat = str | int | float | bool | None
_Nested1 = _Flat | list[_Flat] | dict[str, _Flat]
_Nested2 = _Flat | list[_Nested1] | dict[str, _Nested1]
_Nested3 = _Flat | list[_Nested2] | dict[str, _Nested2]

_Many = Meta(max_length=MAX_SAMPLES)
_Index = Annotated[int, Meta(ge=0)]
_Time = Annotated[float, Meta(ge=0.0, le=LATEST)]
_Seconds = Annotated[float, Meta(gt=0.0, le=LATEST)]

_PLAIN: Final = frozenset((str, int, float, bool, type(None)))


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


class _Meter(msgspec.Struct, array_like=True, gc=False):
    name: str
    unit: str
    type: SampleType


class _Resource(msgspec.Struct, Generic[Metadata], array_like=True, gc=False):
    id: str
    project_id: str | None
    user_id: str | None
    type: str
    metadata: Metadata


class Body(msgspec.Struct, Generic[Metadata], array_like=True, gc=False):
    """The MessagePack array. Later versions append to it and to the tables' rows, with defaults.

    Attributes:
        host, queues, source: as in `Envelope`.
        meters, resources: each once.
        meter: for each sample the index of its meter; `resource` likewise.
        time, volume, started: of each sample.
        elapsed, change: what is known of the reading before, see `columns`.
    """

    host: str
    queues: Annotated[int, Meta(ge=1)]
    source: str | None
    meters: Annotated[list[_Meter], _Many]
    resources: Annotated[list[_Resource[Metadata]], _Many]
    meter: Annotated[list[_Index], _Many]
    resource: Annotated[list[_Index], _Many]
    time: Annotated[list[_Time], _Many]
    volume: Annotated[list[Volume], _Many]
    started: Annotated[list[_Time | None], _Many]
    elapsed: Annotated[list[_Seconds | bool], _Many]
    change: Annotated[list[Change], _Many]


class _Columns(msgspec.Struct, gc=False):
    """What a reader takes in the columns of a `Body`."""

    time: list[_Time]
    volume: list[Volume]
    started: list[_Time | None]
    elapsed: list[_Seconds | bool]
    change: list[Change]


_ENCODER: Final = msgspec.msgpack.Encoder(enc_hook=plain)
_DECODER: Final = msgspec.msgpack.Decoder(Body[dict[str, _Nested3]])
_CHECKER: Final = msgspec.msgpack.Decoder(_Columns)
_ANY_METADATA: Final = msgspec.msgpack.Decoder(Body[dict[Any, Any]])


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
        samples: in order of time per series.
        host: who polled.
        source: the source that polled.
        sent: now, UTC seconds.
        queues: how many topics hosts are spread over, from 1.
        keys: the current one signs.
        max_bytes: of each as base64.

    Raises:
        Unsendable: some are too large alone, or no samples; it has the frames of the others.
    """
    return _Writer(clean(host), clean(source), sent, queues, keys, max_bytes).frames(samples)


def decode(data: bytes, keys: Keys, max_body: int = MAX_BODY) -> Envelope:
    """Return what a frame holds.

    Args:
        data: any bytes.
        keys: with any that is accepted, a frame must be signed with it.
        max_body: bytes that its body may have.

    Raises:
        Rejected: it is no frame, or none for us; nothing else comes out.
    """
    header, rest = unseal(data, keys, max_body)
    try:
        return _envelope(header, _body(rest))
    except (ValueError, LookupError, RecursionError, MemoryError) as error:
        raise Rejected(Reason.MALFORMED, f"its body is no batch: {error}") from error


class _Writer:
    """Makes frames of samples."""

    def __init__(
        self, host: str, source: str | None, sent: float, queues: int, keys: Keys, max_bytes: int
    ) -> None:
        self._host = host
        self._source = source
        self._sent = sent
        self._queues = queues
        self._keys = keys
        self._max_bytes = max_bytes

    def frames(self, samples: Sequence[Sample]) -> list[bytes]:
        refused: dict[int, str] = {}
        numbers: Sequence[int] = range(len(samples))
        try:
            found = list(self._fitting(samples, numbers, refused))
        except (TypeError, ValueError, OverflowError):
            refused = dict(self._faults(samples))
            numbers = [number for number in numbers if number not in refused]
            sound = [samples[number] for number in numbers]
            found = list(self._fitting(sound, numbers, refused))
        if refused:
            raise Unsendable(dict(sorted(refused.items())), found)
        return found

    def _fitting(
        self, samples: Sequence[Sample], numbers: Sequence[int], refused: dict[int, str]
    ) -> Iterator[bytes]:
        """Yield frames within the limits; note by number which are over them alone."""
        if not samples:
            return
        body = self._body(samples)
        excess = max(len(body) / MAX_BODY, len(samples) / MAX_SAMPLES)
        if excess <= 1:
            frame = seal(body, self._sent, self._keys)
            excess = (len(frame) + 2) // 3 * 4 / self._max_bytes
            if excess <= 1:
                yield frame
                return
        if len(samples) == 1:
            what = f"its metadata are too large for a message of {self._max_bytes} bytes"
            name, resource = samples[0].meter.name, samples[0].resource.id
            refused[numbers[0]] = f"{name} of {resource}: {what}"
            return
        # What samples share is in each part again: some more parts than would do without.
        step = max(1, int(len(samples) / max(2, excess * 1.1)))
        for start in range(0, len(samples), step):
            part = slice(start, start + step)
            yield from self._fitting(samples[part], numbers[part], refused)

    def _faults(self, samples: Sequence[Sample]) -> Iterator[tuple[int, str]]:
        for number, sample in enumerate(samples):
            try:
                self._body([sample])
            except (TypeError, ValueError, OverflowError) as error:
                yield number, f"{type(error).__name__}: {error}"

    def _body(self, samples: Sequence[Sample]) -> bytes:
        """Return what a reader of this version takes.

        Raises:
            OverflowError, TypeError, UnicodeEncodeError: something is no sample, as `pack` tells.
            ValueError: a column holds what no reader takes.
        """
        meters, meter = table([sample.meter for sample in samples])
        resources, resource = table([sample.resource for sample in samples])
        check_tables(meters, resources, (self._source,))
        time = [sample.time for sample in samples]
        volume = [sample.volume for sample in samples]
        started = [sample.started for sample in samples]
        elapsed, change = changes([sample.previous for sample in samples], volume)
        _CHECKER.decode(_ENCODER.encode(_Columns(time, volume, started, elapsed, change)))
        body = Body[Mapping[str, Any]](
            self._host, self._queues, self._source,
            [_Meter(each.name, each.unit, each.type) for each in meters], _rows(resources),
            meter, resource, time, volume, started, elapsed, change,
        )  # fmt: skip
        try:
            return _ENCODER.encode(body)
        except (OverflowError, RecursionError, UnicodeEncodeError):
            body.resources = _rows(cleaned(resources))
            return _ENCODER.encode(body)


def _rows(resources: Iterable[Resource]) -> list[_Resource[Mapping[str, Any]]]:
    return [
        _Resource(each.id, each.project_id, each.user_id, each.type, each.metadata)
        for each in resources
    ]


def _body(data: bytes) -> Body[Any]:
    """Return the array of a frame.

    Raises:
        RecursionError, ValueError: it is none.
    """
    try:
        return _DECODER.decode(data)
    except msgspec.ValidationError:
        # It may be that only metadata are other than the faster decoder has types for.
        body = _ANY_METADATA.decode(data)
        for resource in body.resources:
            resource.metadata = _as_json(resource.metadata)
        return body


def _as_json(value: Any) -> Any:
    """Return metadata as JSON can hold them: publishers would stumble over any other, for ever."""
    if value.__class__ is dict:
        return {str(key): _as_json(each) for key, each in value.items()}
    if value.__class__ is list:
        return [_as_json(each) for each in value]
    if value.__class__ in _PLAIN:
        return value
    data = value.data if value.__class__ is msgspec.msgpack.Ext else value
    return data.decode(errors="backslashreplace") if isinstance(data, bytes) else str(data)


def _envelope(header: Header, body: Body[Any]) -> Envelope:
    columns: tuple[Sequence[Any], ...] = (
        body.meter, body.resource, body.time, body.volume, body.started, body.elapsed, body.change,
    )  # fmt: skip
    if len({len(column) for column in columns}) != 1:
        raise ValueError("its columns differ in length")
    if not 0.0 <= header.sent <= LATEST:
        raise ValueError("it was sent at no date")
    source = body.source
    meters = [Meter(each.name, each.unit, each.type) for each in body.meters]
    resources = [
        Resource(each.id, each.project_id, each.user_id, each.type, each.metadata)
        for each in body.resources
    ]
    samples = list(
        map(
            Sample,
            map(meters.__getitem__, body.meter),
            map(resources.__getitem__, body.resource),
            body.time,
            body.volume,
            history(body.elapsed, body.change, body.volume),
            body.started,
            itertools.repeat(source),
        )
    )
    return Envelope(header.id, body.host, header.sent, body.queues, source, samples)
