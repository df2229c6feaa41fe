# SPDX-License-Identifier: Apache-2.0
"""What stands for Prometheus in unit tests: the same rules for what it takes, in memory.

The rules were read off a real one (2.42), and `tests/functional/test_prometheus.py` holds the
publisher against it: a request is taken whole or not at all, and of two values of a series in one
request the one out of order is dropped without a word.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import requests
from prometheus_client.parser import text_string_to_metric_families

from ceilo_agent.publishers.prometheus.labels import Labels, describe
from ceilo_agent.publishers.prometheus.naming import Names
from ceilo_agent.publishers.prometheus.wire import decode
from ceilo_agent.sample import Sample
from tests.services import faulty

Document = dict[str, Any]

HALF_A_CHUNK = 3600_000
"""Milliseconds behind the newest value of all series that one may be; storage.tsdb of 2 h."""

OWN = {"job", "instance"}


class Receiver:
    """Takes remote write.

    Args:
        window: milliseconds that a value may be out of order.

    Attributes:
        taken: labels, milliseconds and value of all that was stored, in the order of arrival.
        types: of metrics, as metadata told them.
    """

    def __init__(self, window: int = 0) -> None:
        self.window = window
        self.taken: list[tuple[Labels, int, float]] = []
        self.types: dict[str, int] = {}
        self._series: dict[Labels, dict[int, float]] = {}
        self._newest = -math.inf

    def behaviour(self) -> faulty.Behaviour:
        """Return what answers requests so."""
        return faulty.reply(self._answer)

    def points(self, name: str) -> dict[str, list[tuple[float, float]]]:
        """Return seconds and values of a metric by resource."""
        found: dict[str, list[tuple[float, float]]] = {}
        for labels, time, value in sorted(self.taken, key=lambda one: one[1]):
            named = dict(labels)
            if named["__name__"] == name:
                found.setdefault(named["resource_id"], []).append((time / 1000, value))
        return found

    def _answer(self, request: faulty.Request) -> tuple[int, Mapping[str, str], bytes]:
        assert request.headers["Content-Type"] == "application/x-protobuf"
        assert request.headers["Content-Encoding"] == "snappy"
        assert request.headers["X-Prometheus-Remote-Write-Version"] == "0.1.0"
        message = decode(request.body)
        adding = []
        for each in message.timeseries:
            labels = tuple((label.name, label.value) for label in each.labels)
            assert labels == tuple(sorted(labels))
            assert all(value for _, value in labels)
            assert len(each.samples) == 1
            for one in each.samples:
                fault = self._fault(labels, one.timestamp, one.value)
                if fault is not None:
                    return fault[0], {}, f"{fault[1]}\n".encode()
                adding.append((labels, one.timestamp, one.value))
        assert len({labels for labels, _, _ in adding}) == len(adding)
        for labels, time, value in adding:
            series = self._series.setdefault(labels, {})
            if time not in series:
                self.taken.append((labels, time, value))
            series.setdefault(time, value)
            self._newest = max(self._newest, time)
        self.types |= {one.metric_family_name: one.type for one in message.metadata}
        return 204, {}, b""

    def _fault(self, labels: Labels, time: int, value: float) -> tuple[int, str] | None:
        series = self._series.get(labels, {})
        last = max(series, default=-math.inf)
        if time >= self._newest - HALF_A_CHUNK:
            if time > last:
                return None
            if time == last:
                same = series[time] == value
                return None if same else (400, "duplicate sample for timestamp")
        if self.window:
            late = time < self._newest - self.window
            return (500, "too old sample") if late else None
        late = time < self._newest - HALF_A_CHUNK
        return 400, "out of bounds" if late else "out of order sample"


# -- for the conformance suite -------------------------------------------------------------------


def document(labels: Mapping[str, str], value: float, time: float | None) -> Document:
    """Return a value under the keys that tell series apart."""
    named = dict(labels)
    name = named.pop("__name__")
    found = {"name": name, "volume": value, "labels": named}
    return found | {"resource_id": named["resource_id"]} | ({} if time is None else {"time": time})


def written(request: faulty.Request) -> list[Document]:
    """Return what a request carries of samples."""
    return [
        _document(
            tuple((label.name, label.value) for label in each.labels), one.timestamp, one.value
        )
        for each in decode(request.body).timeseries
        for one in each.samples
        if not _is_metadata(each.labels[0].value)
    ]


def stored(receiver: Receiver) -> list[Document]:
    """Return what was stored of samples."""
    return [
        _document(labels, time, value)
        for labels, time, value in receiver.taken
        if not _is_metadata(dict(labels)["__name__"])
    ]


def expected(samples: Sequence[Sample], *, adds: bool = False) -> list[Document]:
    """Return what arrives of samples; with `adds` without times, and the newest of each series."""
    names = Names(adds=adds)
    found = []
    for sample in samples:
        family = names.family(sample.meter)
        labels = {**dict(describe(sample.resource).labels), "__name__": family.name}
        time = None if adds else round(sample.time * 1000) / 1000
        found.append(document(labels, family.value(sample.volume), time))
    return (
        list({(one["resource_id"], one["name"]): one for one in found}.values()) if adds else found
    )


def _document(labels: Labels, time: int, value: float) -> Document:
    named = {name: text for name, text in labels if name not in OWN}
    return document(named, value, time / 1000)


def scraped(url: str) -> list[Document]:
    """Return what stands on a page of samples."""
    text = requests.get(url, timeout=30).content.decode("utf-8")
    return [
        document({**sample.labels, "__name__": sample.name}, sample.value, None)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not _is_metadata(sample.name)
    ]


def _is_metadata(name: str) -> bool:
    return name.endswith("_info")
