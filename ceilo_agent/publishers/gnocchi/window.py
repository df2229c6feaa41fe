# SPDX-License-Identifier: Apache-2.0
"""Which samples are too old: Gnocchi takes them, says 202 and throws them away.

Of each metric it keeps the points of the newest block of its coarsest granularity, of as many
blocks before it as the archive policy's `back_window` says, and of one more where the policy has a
rate. A point before those changes nothing. (Gnocchi 4: carbonara.BoundTimeSerie.)
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from ceilo_agent.publishers.gnocchi.batch import Owner
from ceilo_agent.publishers.gnocchi.client import Client, NotThere
from ceilo_agent.publishers.gnocchi.policies import seconds
from ceilo_agent.sample import Sample, isotime

LOOK_BACK: Final = (2, 50, 1000, None)
"""How many blocks back the newest point of a metric is looked for; None: to the oldest sample."""

METRICS_AT_ONCE: Final = 200


class _Series(NamedTuple):
    """One metric of Gnocchi.

    Attributes:
        block: its coarsest granularity, seconds.
        kept: how many blocks are kept before the newest.
        method: an aggregation method that its policy has.
    """

    block: float
    kept: int
    method: str


def outdated(
    client: Client, samples: Sequence[Sample], owners: Mapping[str, Owner]
) -> dict[int, str]:
    """Return why, by index, of the samples that Gnocchi would throw away.

    Args:
        client: of Gnocchi.
        samples: of which `places` of the owners are indexes.
        owners: the resources, by canonical id.

    Raises:
        Retryable: Gnocchi cannot be asked now.
    """
    ids = [owner.id for owner in owners.values()]
    there = client.find_resources(ids)
    series: dict[str, _Series] = {}
    places: dict[str, list[int]] = {}
    for owner in owners.values():
        if owner.id not in there:
            continue
        by_name = defaultdict(list)
        for place in owner.places:
            by_name[samples[place].meter.name].append(place)
        for metric in _metrics(client, there[owner.id]["id"]):
            if metric["name"] in by_name:
                found = _series(metric["archive_policy"])
                if found is not None:
                    series[metric["id"]] = found
                    places[metric["id"]] = by_name[metric["name"]]
    oldest = min((samples[place].time for found in places.values() for place in found), default=0)
    edges = _edges(client, series, oldest)
    return {
        place: f"Gnocchi keeps nothing of this metric before {isotime(edge)}"
        for metric, edge in edges.items()
        for place in places[metric]
        if samples[place].time < edge
    }


def _metrics(client: Client, uuid: str) -> list[dict[str, Any]]:
    try:
        return client.metrics_of(uuid)
    except NotThere:
        return []


def _series(policy: Mapping[str, Any]) -> _Series | None:
    methods = sorted(policy["aggregation_methods"])
    plain = [method for method in methods if not method.startswith("rate:")]
    blocks = [seconds(each["granularity"]) or 0.0 for each in policy["definition"]]
    if not methods or not blocks or not max(blocks):
        return None
    kept = int(policy["back_window"]) + (len(plain) < len(methods))
    return _Series(max(blocks), kept, (plain or methods)[0])


def _edges(client: Client, series: Mapping[str, _Series], oldest: float) -> dict[str, float]:
    """Return the time before which each metric takes nothing, of those that have points at all."""
    edges: dict[str, float] = {}
    alike = defaultdict(list)
    for metric, found in series.items():
        alike[found.block, found.method].append(metric)
    for (block, method), metrics in alike.items():
        left = metrics
        for blocks in LOOK_BACK:
            newest: dict[str, str] = {}
            start = isotime(oldest if blocks is None else time.time() - blocks * block)
            for first in range(0, len(left), METRICS_AT_ONCE):
                asked = [(metric, method) for metric in left[first : first + METRICS_AT_ONCE]]
                newest |= client.aggregates(asked, block, start)
            for metric, moment in newest.items():
                edges[metric] = _moment(moment) - series[metric].kept * block
            left = [metric for metric in left if metric not in newest]
            if not left:
                break
    return edges


def _moment(text: str) -> float:
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
