# SPDX-License-Identifier: Apache-2.0
"""`delta`: what a meter gained or lost since the reading before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from ceilo_agent.pipeline.transformers import mapping
from ceilo_agent.pipeline.transformers.bounds import NO_VOLUME
from ceilo_agent.pipeline.transformers.growth import NOT_LATER, RETENTION, Growth, Retention
from ceilo_agent.pipeline.transformers.mapping import MapTo, MeterMap, Name, Source, check_maps
from ceilo_agent.pipeline.transformers.results import NOT_FINITE, bounded
from ceilo_agent.sample import FIRST, UNTRACKED, Sample, SampleType
from ceilo_agent.volumes import is_volume


class Target(msgspec.Struct, frozen=True):
    """What comes out: always of type delta, in the unit of what goes in."""

    name: Annotated[
        Name | None,
        Meta(description="The name of the meter that comes out."),
    ] = None
    map_to: Annotated[
        MapTo | None, Meta(description="What to put in place of what `source.map_from` found.")
    ] = None


class DeltaParameters(msgspec.Struct, frozen=True):
    """What operators may write."""

    source: Annotated[Source | None, Meta(description="Which samples are taken.")] = None
    target: Annotated[Target | None, Meta(description="What comes out.")] = None
    growth_only: Annotated[
        bool,
        Meta(
            description="Leave out what fell; of a counter that began again, give what it gained."
        ),
    ] = False
    retention: Retention = RETENTION

    def __post_init__(self) -> None:
        """Refuse maps that do not fit each other, and those of units."""
        found = self.source.map_from if self.source else None
        to = self.target.map_to if self.target else None
        if (found and found.unit) or (to and to.unit is not None):
            raise ValueError("a delta keeps the unit: map_from and map_to take a name only")
        check_maps(self.source, to)


class Delta(Growth):
    """Makes deltas of samples and of the readings before them."""

    Parameters: ClassVar[type[msgspec.Struct]] = DeltaParameters

    def __init__(self, parameters: DeltaParameters) -> None:
        target = parameters.target or Target()
        to = mapping.Target(name=target.name, map_to=target.map_to)
        super().__init__(parameters, MeterMap(parameters.source, to, SampleType.DELTA))
        self._growth_only = parameters.growth_only

    def __call__(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        """Return the deltas, and unchanged what has another unit."""
        made: list[Sample] = []
        meters, growth_only = self._meters, self._growth_only
        for sample in samples:
            meter, previous = sample.meter, sample.previous
            target = meters[meter]
            if target is None:
                if is_volume(sample.volume):
                    made.append(sample)
                else:
                    self.drop(sample, NO_VOLUME)
                continue
            if previous is UNTRACKED:
                previous = self.follow(sample)
            if previous is FIRST:
                continue
            elapsed = previous.elapsed
            if not elapsed > 0.0:
                self.drop(sample, NOT_LATER)
                continue
            try:
                growth = sample.volume - previous.volume
                if growth < 0 and growth_only:
                    if meter.type is not SampleType.CUMULATIVE:
                        continue
                    growth = sample.volume
                growth = bounded(growth)
            except (OverflowError, TypeError):
                self.drop(sample, NOT_FINITE)
                continue
            time = sample.time
            made.append(
                Sample(
                    target, sample.resource, time, growth, UNTRACKED, time - elapsed, sample.source
                )
            )
        return made
