# SPDX-License-Identifier: Apache-2.0
"""`rate_of_change`: what a meter gains or loses per second."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from math import inf
from typing import ClassVar, Final

import msgspec

from ceilo_agent.expressions.evaluation import EvaluationError
from ceilo_agent.expressions.expression import VolumeExpression
from ceilo_agent.pipeline.transformers.bounds import NO_VOLUME
from ceilo_agent.pipeline.transformers.growth import NOT_LATER, RETENTION, Growth, Retention
from ceilo_agent.pipeline.transformers.mapping import Mapping, MeterMap, Target
from ceilo_agent.pipeline.transformers.results import NOT_FINITE, reason
from ceilo_agent.sample import FIRST, UNTRACKED, Resource, Sample, SampleType, Volume
from ceilo_agent.volumes import is_volume

_OF_RESOURCE: Final = frozenset({"resource_id", "resource_metadata", "project_id", "user_id"})
"""What an expression may read and still give one value for all samples of a resource."""
_TIMES_VOLUME: Final = re.compile(r"\bvolume\s*\*(?!\*)|(?<!\*)\*\s*volume\b|^\s*volume\s*/")


class RateParameters(Mapping, frozen=True):
    """What operators may write."""

    retention: Retention = RETENTION


class RateOfChange(Growth):
    """Makes rates of samples and of the readings before them.

    The rate is growth by elapsed seconds, times the scale. A counter that fell began again: what it
    reached since then is a lower bound of its growth.
    """

    Parameters: ClassVar[type[msgspec.Struct]] = RateParameters

    def __init__(self, parameters: RateParameters) -> None:
        target = parameters.target or Target()
        kind = target.type or SampleType.GAUGE
        super().__init__(parameters, MeterMap(parameters.source, target, kind))
        scale = 1 if target.scale is None else target.scale
        self._factor: Volume = 1
        self._expression: VolumeExpression | None = None
        if isinstance(scale, VolumeExpression):
            self._expression = scale
        else:
            self._factor = scale
        self._highest = inf if target.max is None else target.max

    def remarks(self) -> Iterable[str]:
        """Return a remark on a scale of the form that unit_conversion takes."""
        if self._expression is not None and _TIMES_VOLUME.search(self._expression.text):
            yield (
                "the rate is multiplied by 'scale', so that 'volume' in it squares: leave it out, "
                'as in "100.0 / 10**9"'
            )

    def __call__(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        """Return the rates, and unchanged what has another unit."""
        made: list[Sample] = []
        meters, factor, expression = self._meters, self._factor, self._expression
        highest, counter = self._highest, SampleType.CUMULATIVE
        shared = expression is not None and expression.fields <= _OF_RESOURCE
        scaled: Resource | None = None  # the resource that `factor` is of
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
            volume, resource, elapsed = sample.volume, sample.resource, previous.elapsed
            if not elapsed > 0.0:
                self.drop(sample, NOT_LATER)
                continue
            try:
                growth = volume - previous.volume
                if growth < 0 and meter.type is counter:
                    growth = volume
                if expression is not None and (resource is not scaled or not shared):
                    factor = expression(sample)
                    scaled = resource
                rate = growth / elapsed * factor
            except (EvaluationError, OverflowError, TypeError) as error:
                self.drop(sample, reason(error))
                continue
            if rate - rate != 0.0:  # it is infinite or no number
                self.drop(sample, NOT_FINITE)
                continue
            made.append(
                Sample(
                    target,
                    resource,
                    sample.time,
                    rate if rate < highest else highest,
                    UNTRACKED,
                    None,
                    sample.source,
                )
            )
        return made
