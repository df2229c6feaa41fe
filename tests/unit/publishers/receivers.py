# SPDX-License-Identifier: Apache-2.0
"""The other side of publishers over the network: what a request or a message carries."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Sequence
from typing import Any

import msgspec
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

from ceilo_agent.messaging import wire
from ceilo_agent.messaging.keys import Keys
from ceilo_agent.sample import Sample, SampleType, isotime
from tests.services import faulty
from tests.unit.publishers.gnocchi import edge

Document = dict[str, Any]

OF_CEILOMETER = {"user_name", "project_name", "source", "id", "monotonic_time"}
"""The keys of Ceilometer's documents that ours have nothing for."""


# -- http ----------------------------------------------------------------------------------------


def json_samples(request: faulty.Request) -> list[Document]:
    """Return the documents of a request without what only Ceilometer's receivers want."""
    assert request.headers["Content-Type"] == "application/json"
    found = msgspec.json.decode(request.body)
    return [
        {key: value for key, value in one.items() if key not in OF_CEILOMETER}
        for one in (found if isinstance(found, list) else [found])
    ]


# -- gnocchi -------------------------------------------------------------------------------------


def gnocchi_edge(place: Any) -> faulty.Behaviour:
    """Return what answers as Gnocchi does, and keep it in the place."""
    made = edge.Edge()
    made.server.stop()  # the place has a server of its own
    place.kept["gnocchi"] = made
    return made.server.usual


def gnocchi_received(place: Any) -> list[Document]:
    """Return every point that is stored."""
    return [
        {"resource_id": resource, "name": name, "time": time, "volume": value}
        for (resource, name), points in place.kept["gnocchi"].points.items()
        for time, value in sorted(points.items())
    ]


def gnocchi_samples(request: faulty.Request) -> list[Document]:
    """Return the points that a request carries."""
    if "/batch/" not in request.path:
        return []
    return [
        {"resource_id": resource, "name": name, "time": one["timestamp"], "volume": one["value"]}
        for resource, metrics in msgspec.json.decode(request.body).items()
        for name, metric in metrics.items()
        for one in metric["measures"]
    ]


def gnocchi_expected(samples: Sequence[Sample]) -> list[Document]:
    """Return what Gnocchi has of samples: points, of which integers above 2^53 are rounded."""
    return [
        {
            "resource_id": sample.resource.id.replace("/", "_"),
            "name": sample.meter.name,
            "time": isotime(sample.time).removesuffix("+00:00"),
            "volume": sample.volume if abs(sample.volume) <= 2**53 else float(sample.volume),
        }
        for sample in samples
    ]


def gnocchi_refuses(sample: Sample) -> bool:
    """Return whether the id is one that Gnocchi's database has no place for."""
    return len(sample.resource.id) > 289 or "\udc80" in sample.resource.id


# -- otlp ----------------------------------------------------------------------------------------

UNITS = {"ns": "ns", "B": "By"}


def otlp_request(request: faulty.Request) -> ExportMetricsServiceRequest:
    """Return the message of a request."""
    assert request.headers["Content-Type"] == "application/x-protobuf"
    packed = request.headers.get("Content-Encoding") == "gzip"
    body = gzip.decompress(request.body) if packed else request.body
    return ExportMetricsServiceRequest.FromString(body)


def otlp_samples(request: faulty.Request) -> list[Document]:
    """Return what a request says of each sample."""
    return list(otlp_documents(otlp_request(request)))


def otlp_documents(message: ExportMetricsServiceRequest) -> list[Document]:
    """Return what a message says of each sample."""
    found: list[Document] = []
    for resource in message.resource_metrics:
        names = {one.key: one.value.string_value for one in resource.resource.attributes}
        for metric in (one for scope in resource.scope_metrics for one in scope.metrics):
            data = metric.gauge if metric.HasField("gauge") else metric.sum
            found += [
                {
                    "name": metric.name,
                    "unit": metric.unit,
                    "type": _type(metric),
                    "volume": getattr(point, str(point.WhichOneof("value"))),
                    "timestamp": isotime(point.time_unix_nano / 1e9),
                    "resource_id": names["ceilo_agent.resource_id"],
                    "resource_type": names["ceilo_agent.resource_type"],
                    "project_id": names.get("cloud.account.id"),
                    "user_id": names.get("user.id"),
                }
                for point in data.data_points
            ]
    return found


def otlp_expected(samples: Sequence[Sample]) -> list[Document]:
    """Return what OTLP can say of samples: no unsigned integers, units of UCUM, valid UTF-8."""
    return [
        {
            "name": sample.meter.name,
            "unit": UNITS.get(sample.meter.unit) or _annotation(sample.meter.unit),
            "type": sample.meter.type.value,
            "volume": sample.volume if -(2**63) <= sample.volume < 2**63 else float(sample.volume),
            "timestamp": isotime(sample.time),
            "resource_id": sample.resource.id,
            "resource_type": sample.resource.type,
            "project_id": sample.resource.project_id,
            "user_id": sample.resource.user_id,
        }
        for sample in samples
    ]


def otlp_answer(rejected: int, message: str) -> bytes:
    """Return the answer that some data points were thrown away."""
    answer = ExportMetricsServiceResponse()
    answer.partial_success.rejected_data_points = rejected
    answer.partial_success.error_message = message
    return answer.SerializeToString()


otlp_partial = faulty.ok(otlp_answer(1, "one is bad"), {"Content-Type": "application/x-protobuf"})


def _type(metric: Any) -> str:
    if metric.HasField("gauge"):
        return SampleType.GAUGE.value
    if metric.sum.aggregation_temporality == 2:
        assert metric.sum.is_monotonic
        return SampleType.CUMULATIVE.value
    assert metric.sum.aggregation_temporality == 1
    return SampleType.DELTA.value


def _annotation(unit: str) -> str:
    word = "".join(letter for letter in unit if "!" <= letter <= "~" and letter not in "{}/")
    return f"{{{word}}}" if word else "1"


# -- notifier ------------------------------------------------------------------------------------


def notified(topic: str) -> list[Sample]:
    """Return the samples that wait at a topic of kombu's broker in this process's memory."""
    from kombu.transport.memory import Channel  # noqa: PLC0415 - only who has a bus has it

    found: list[Sample] = []
    for message in list(Channel.queues[f"{topic}.sample"].queue):
        envelope = json.loads(base64.b64decode(message["body"]))
        payload = json.loads(envelope["oslo.message"])["payload"]
        found += wire.decode(base64.b64decode(payload), Keys()).samples
    return found
