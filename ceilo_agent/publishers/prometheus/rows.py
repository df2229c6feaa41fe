# SPDX-License-Identifier: Apache-2.0
"""Samples under the names, labels and units of Prometheus."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from ceilo_agent.publishers.prometheus.labels import Described, describe
from ceilo_agent.publishers.prometheus.naming import Family, Names
from ceilo_agent.sample import Sample

TOO_LARGE: Final = "it is beyond what a double can hold"


class Row(NamedTuple):
    """A sample and what it is in Prometheus.

    Attributes:
        place: of the sample in its batch.
        sample: the sample.
        family: its metric.
        described: its resource.
        value: in the metric's unit.
    """

    place: int
    sample: Sample
    family: Family
    described: Described
    value: float


def rows(samples: Sequence[Sample], names: Names, refused: dict[int, str]) -> Iterator[Row]:
    """Yield what samples are in Prometheus.

    Args:
        samples: of one batch.
        names: of the metrics.
        refused: takes why, by the index of each sample that cannot be told.
    """
    known: dict[int, Described] = {}
    for index, sample in enumerate(samples):
        described = known.get(id(sample.resource))
        if described is None:
            described = known[id(sample.resource)] = describe(sample.resource)
        family = names.family(sample.meter)
        try:
            value = family.value(sample.volume)
        except OverflowError:
            refused[index] = TOO_LARGE
        else:
            yield Row(index, sample, family, described, value)
