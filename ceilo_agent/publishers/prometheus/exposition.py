# SPDX-License-Identifier: Apache-2.0
"""The board in the terms of prometheus_client, which writes it as text or as OpenMetrics."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric

from ceilo_agent.publishers.prometheus.naming import HOST, INSTANCE, Names
from ceilo_agent.publishers.prometheus.series import Shown

HELP = {
    INSTANCE: "What is known of a guest; join it by instance_id.",
    HOST: "The host; join it by host.",
}


class Exposition:
    """A collector over one moment of the board.

    Args:
        shown: the moment.
        names: of the metrics.
        timestamps: whether values stand with the time when they were read.
        only: names of series that are wanted; empty: all.
    """

    def __init__(
        self, shown: Shown, names: Names, *, timestamps: bool, only: Collection[str] = ()
    ) -> None:
        self._shown = shown
        self._names = names
        self._timestamps = timestamps
        self._only = frozenset(only)

    def collect(self) -> Iterator[Metric]:
        """Yield every metric with its series."""
        for kind, infos in sorted(self._shown.infos.items()):
            base = self._names.info(kind)
            if self._wants(name := f"{base}_info"):
                metric = Metric(base, HELP.get(kind, "What is known of a resource."), "info")
                for labels in infos:
                    metric.add_sample(name, dict(labels), 1)
                yield metric
        for family, points in self._shown.families:
            if self._wants(family.name):
                kind = "counter" if family.counter else "gauge"
                metric = Metric(family.base, family.help, kind)
                for point in points:
                    time = point.time if self._timestamps else None
                    metric.add_sample(family.name, dict(point.labels), point.value, time)
                yield metric

    def _wants(self, name: str) -> bool:
        return not self._only or name in self._only


def render(exposition: Exposition, accept: str) -> tuple[bytes, str]:
    """Return the page in the form that an Accept header asks for, and its content type."""
    encode: Callable[[Any], bytes]
    try:
        encode, content_type = choose_encoder(accept)
    except (TypeError, ValueError):  # a version that is none
        encode, content_type = choose_encoder("")
    return encode(exposition), content_type
