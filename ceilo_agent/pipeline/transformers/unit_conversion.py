# SPDX-License-Identifier: Apache-2.0
"""`unit_conversion`: the same reading in another unit, under another name, or both."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import inf
from typing import Annotated, ClassVar, Literal, Self

import msgspec
from msgspec import Meta

from ceilo_agent.errors import Malformed
from ceilo_agent.expressions.evaluation import EvaluationError
from ceilo_agent.expressions.expression import VolumeExpression
from ceilo_agent.pipeline.transformers import mapping
from ceilo_agent.pipeline.transformers.bounds import NO_VOLUME
from ceilo_agent.pipeline.transformers.mapping import Mapping, MeterMap
from ceilo_agent.pipeline.transformers.results import bounded, reason
from ceilo_agent.plugins import Transformer
from ceilo_agent.sample import FIRST, UNTRACKED, History, Meter, Previous, Sample, Volume
from ceilo_agent.volumes import BEYOND, LEAST, is_volume


class Conversion(VolumeExpression):
    """An expression whose value is the new volume."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the expression.

        Raises:
            Malformed: it is none, or does not depend on the volume.
        """
        made = super().parse(text)
        if "volume" not in made.fields:
            what = "the value of the expression is the new volume, but it does not read 'volume'"
            raise Malformed(what, hint="a factor is written: volume * (...)")
        return made


class Target(mapping.Target, frozen=True):
    """What comes out. What is not given stays as it was."""

    scale: Annotated[
        int | float | Conversion | None,
        Meta(
            description="A number to multiply by, or an expression of `volume` that gives the new "
            "volume."
        ),
    ] = None


class ConversionParameters(Mapping, frozen=True):
    """What operators may write."""

    target: Annotated[Target | None, Meta(description="What comes out.")] = None


class UnitConversion(Transformer):
    """Converts volumes, and with them those of the readings before."""

    Parameters: ClassVar[type[msgspec.Struct]] = ConversionParameters

    def __init__(self, parameters: ConversionParameters) -> None:
        super().__init__(parameters)
        target = parameters.target or Target()
        self._meters = MeterMap(parameters.source, target)
        self._factor: Volume = 1
        self._expression: VolumeExpression | None = None
        if isinstance(target.scale, VolumeExpression):
            self._expression = target.scale
        elif target.scale is not None:
            self._factor = target.scale
        self._highest = inf if target.max is None else target.max

    def __call__(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        """Return the converted samples, and unchanged what has another unit."""
        made: list[Sample] = []
        meters, factor, expression = self._meters, self._factor, self._expression
        highest = self._highest
        for sample in samples:
            target = meters[sample.meter]
            if target is None:
                if is_volume(sample.volume):
                    made.append(sample)
                else:
                    self.drop(sample, NO_VOLUME)
                continue
            previous = sample.previous
            try:
                volume = sample.volume * factor if expression is None else expression(sample)
                if not LEAST < volume < BEYOND:
                    volume = bounded(volume)
            except (EvaluationError, OverflowError, TypeError) as error:
                self.drop(sample, reason(error))
                continue
            if previous is not UNTRACKED and previous is not FIRST:
                previous = self._previous(sample, previous)
            made.append(
                Sample(
                    target,
                    sample.resource,
                    sample.time,
                    volume if volume < highest else highest,
                    previous,
                    sample.started,
                    sample.source,
                )
            )
        return made

    def outcome(self, meters: Collection[Meter]) -> Collection[Meter]:
        """Return the meters that come out.

        Raises:
            NeverMatches: it takes none of them, or changes none as it should.
        """
        return self._meters.outcome(meters)

    def _previous(self, sample: Sample, previous: Previous) -> Previous | Literal[History.FIRST]:
        """Return the reading before, converted; FIRST if that cannot be."""
        before = previous.volume
        try:
            if self._expression is None:
                before = bounded(before * self._factor)
            else:
                before = bounded(self._expression(sample, before))
        except (EvaluationError, OverflowError, TypeError):
            return FIRST
        return Previous(previous.elapsed, min(before, self._highest))
