# SPDX-License-Identifier: Apache-2.0
"""The body of a remote write: protobuf, compressed by snappy's block format.

The messages are those of https://prometheus.io/docs/specs/prw/remote_write_spec/ (1.0) and of
``prompb/types.proto`` in Prometheus's source, as far as they are used here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import cramjam
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from ceilo_agent.publishers.prometheus.labels import Labels
from ceilo_agent.publishers.prometheus.naming import Family

HEADERS: Final = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}

_COUNTER, _GAUGE = 1, 2
"""MetricMetadata.MetricType."""


class Write(NamedTuple):
    """One value of one series.

    Attributes:
        labels: all of them, ``__name__`` too, sorted by name.
        time: milliseconds since 1970.
        value: a double.
    """

    labels: Labels
    time: int
    value: float


def encode(writes: Iterable[Write], families: Iterable[Family] = ()) -> bytes:
    """Return the body of a request.

    Args:
        writes: at most one of each series.
        families: metrics to tell type and meaning of.
    """
    request = WriteRequest()
    for write in writes:
        series = request.timeseries.add()
        for name, value in write.labels:
            series.labels.add(name=name, value=value)
        series.samples.add(value=write.value, timestamp=write.time)
    for family in families:
        kind = _COUNTER if family.counter else _GAUGE
        request.metadata.add(type=kind, metric_family_name=family.name, help=family.help)
    return bytes(cramjam.snappy.compress_raw(request.SerializeToString()))


def decode(body: bytes) -> Any:
    """Return the WriteRequest in a body."""
    request = WriteRequest()
    request.ParseFromString(bytes(cramjam.snappy.decompress_raw(body)))
    return request


_TEXT, _DOUBLE, _INT64, _INT32, _MESSAGE = 9, 1, 3, 5, 11
"""FieldDescriptorProto.Type. An enum has the same form on the wire as an int32."""

_ONE, _MANY = 1, 3
"""FieldDescriptorProto.Label."""

_MESSAGES: Final[dict[str, tuple[tuple[str, int, int, int, str], ...]]] = {
    "WriteRequest": (
        ("timeseries", 1, _MESSAGE, _MANY, "TimeSeries"),
        ("metadata", 3, _MESSAGE, _MANY, "MetricMetadata"),
    ),
    "TimeSeries": (
        ("labels", 1, _MESSAGE, _MANY, "Label"),
        ("samples", 2, _MESSAGE, _MANY, "Sample"),
    ),
    "Label": (("name", 1, _TEXT, _ONE, ""), ("value", 2, _TEXT, _ONE, "")),
    "Sample": (("value", 1, _DOUBLE, _ONE, ""), ("timestamp", 2, _INT64, _ONE, "")),
    "MetricMetadata": (
        ("type", 1, _INT32, _ONE, ""),
        ("metric_family_name", 2, _TEXT, _ONE, ""),
        ("help", 4, _TEXT, _ONE, ""),
        ("unit", 5, _TEXT, _ONE, ""),
    ),
}
"""Fields by message: name, number, type, label, name of the message."""


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="ceilo_agent/remote_write.proto", package="prometheus", syntax="proto3"
    )
    for message, fields in _MESSAGES.items():
        described = file.message_type.add(name=message)
        for name, number, kind, label, of in fields:
            type_name = f".prometheus.{of}" if of else None
            described.field.add(
                name=name, number=number, type=kind, label=label, type_name=type_name
            )
    return file


# A pool of our own: other packages may bring the same messages. It must live as long as they do.
_POOL: Final = descriptor_pool.DescriptorPool()
_POOL.AddSerializedFile(_file().SerializeToString())
WriteRequest: Final[Any] = message_factory.GetMessageClass(
    _POOL.FindMessageTypeByName("prometheus.WriteRequest")
)
