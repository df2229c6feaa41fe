# SPDX-License-Identifier: Apache-2.0
"""Samples as a message of OTLP, and what its answers say.

The data model: https://opentelemetry.io/docs/specs/otel/metrics/data-model/. The messages:
https://github.com/open-telemetry/opentelemetry-proto.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsPartialSuccess,
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    Metric,
    NumberDataPoint,
)

from ceilo_agent import __version__
from ceilo_agent.publishers.otlp.conventions import attributes, unit
from ceilo_agent.sample import Meter, Previous, Resource, Sample, SampleType, microseconds
from ceilo_agent.store.encoding import INT_MAX, INT_MIN, clean

LATEST: Final = 18_446_744_073.0
"""Seconds since 1970 that 64 bits of nanoseconds hold."""


def encode(samples: Sequence[Sample], *, all_metadata: bool) -> bytes:
    """Return an ExportMetricsServiceRequest: one data point a sample, in order per series.

    Args:
        samples: those of one resource become one ResourceMetrics.
        all_metadata: as `attributes` takes it.
    """
    request = ExportMetricsServiceRequest()
    groups: dict[int, _Group] = {}
    for sample in samples:
        group = groups.get(id(sample.resource))
        if group is None:
            group = groups[id(sample.resource)] = _Group(request, sample.resource, all_metadata)
        _set(group.points(sample.meter).add(), sample)
    return request.SerializeToString()


class _Group:
    """The metrics of one resource."""

    def __init__(
        self, request: ExportMetricsServiceRequest, resource: Resource, all_metadata: bool
    ) -> None:
        made = request.resource_metrics.add()
        found = attributes(resource, all_metadata=all_metadata)
        made.resource.attributes.extend(
            KeyValue(key=clean(name), value=_any(value)) for name, value in found.items()
        )
        self._scope = made.scope_metrics.add()
        self._scope.scope.name = "ceilo_agent"
        self._scope.scope.version = __version__
        self._points: dict[Meter, Any] = {}

    def points(self, meter: Meter) -> Any:
        """Return the data points of a meter, to add to."""
        found = self._points.get(meter)
        if found is None:
            metric = self._scope.metrics.add(name=clean(meter.name), unit=unit(meter.unit))
            found = self._points[meter] = _points(metric, meter.type)
        return found


def _points(metric: Metric, kind: SampleType) -> Any:
    if kind is SampleType.GAUGE:
        return metric.gauge.data_points
    if kind is SampleType.CUMULATIVE:
        metric.sum.aggregation_temporality = (
            AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
        )
        metric.sum.is_monotonic = True
    else:
        # A difference may be below zero: the `delta` transformer makes such of gauges.
        metric.sum.aggregation_temporality = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
    return metric.sum.data_points


def _set(point: NumberDataPoint, sample: Sample) -> None:
    """Write a sample into an empty data point."""
    point.time_unix_nano = _nanos(sample.time)
    if sample.meter.type is not SampleType.GAUGE:
        point.start_time_unix_nano = _start(sample)
    volume = sample.volume
    if isinstance(volume, int) and INT_MIN <= volume <= INT_MAX:
        point.as_int = volume
    else:
        # The protocol has no unsigned integers: above 2^63 - 1 some of the last digits go.
        point.as_double = float(volume)


def _start(sample: Sample) -> int:
    """Return when a counter began, or the span of a difference did; 0 if nobody knows."""
    if sample.started is not None:
        began = sample.started
    elif sample.meter.type is SampleType.DELTA and isinstance(sample.previous, Previous):
        began = sample.time - sample.previous.elapsed
    else:
        return 0
    return _nanos(min(began, sample.time))


def _nanos(time: float) -> int:
    """Return UTC seconds in nanoseconds; 0 for what the protocol cannot say.

    They are whole microseconds, since a float has no more digits, and rounded as `isotime` does.
    """
    if not 0 <= time < LATEST:
        return 0
    return microseconds(time) * 1000


def _any(value: object) -> AnyValue:
    """Return a value of an attribute; what the protocol has no form for becomes text."""
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int) and INT_MIN <= value <= INT_MAX:
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, list | tuple):
        made = AnyValue()
        made.array_value.SetInParent()
        made.array_value.values.extend(_any(item) for item in value)
        return made
    if isinstance(value, Mapping):
        made = AnyValue()
        made.kvlist_value.SetInParent()
        made.kvlist_value.values.extend(
            KeyValue(key=clean(str(key)), value=_any(item)) for key, item in value.items()
        )
        return made
    return AnyValue() if value is None else AnyValue(string_value=clean(str(value)))


# -- answers -------------------------------------------------------------------------------------


class Partial(NamedTuple):
    """What a receiver says of a request that it took.

    Attributes:
        rejected: data points that it threw away; it does not say which.
        message: why, or a warning where it threw none away.
    """

    rejected: int
    message: str


class _JsonPartial(msgspec.Struct, rename="camel"):
    rejected_data_points: int = 0
    error_message: str = ""


class _JsonAnswer(msgspec.Struct, rename="camel"):
    partial_success: _JsonPartial = msgspec.field(default_factory=_JsonPartial)


def decode_answer(body: bytes, content_type: str) -> Partial | None:
    """Read an ExportMetricsServiceResponse, in protobuf or JSON; None if it is none.

    What a receiver says in its own words beside a status of success counts as nothing; a page of
    HTML comes from no receiver.
    """
    if "html" in content_type:
        return None
    try:
        if "json" in content_type and body.strip():
            found = msgspec.json.decode(body, type=_JsonAnswer, strict=False).partial_success
            return Partial(found.rejected_data_points, found.error_message)
        if "protobuf" not in content_type:
            return Partial(0, "")
        said = ExportMetricsServiceResponse.FromString(body).partial_success
    except (msgspec.DecodeError, DecodeError):
        return None
    return Partial(said.rejected_data_points, said.error_message)


def decode_status(body: bytes) -> str:
    """Return the message of a google.rpc.Status, empty if it is none.

    Its fields 1 (code, an integer) and 2 (message, a text) are those of the partial success's
    message; so it can be read without another package.
    """
    try:
        return ExportMetricsPartialSuccess.FromString(body).error_message
    except DecodeError:
        return ""
