# SPDX-License-Identifier: Apache-2.0
"""`filter`: only the samples for which a condition holds go on."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Annotated, ClassVar, Final

import msgspec

from ceilo_agent.expressions.evaluation import EvaluationError
from ceilo_agent.expressions.expression import Condition
from ceilo_agent.pipeline.transformers.bounds import NO_VOLUME
from ceilo_agent.plugins import NeverMatches, Transformer
from ceilo_agent.sample import Meter, Resource, Sample
from ceilo_agent.volumes import is_volume

_OF_METER: Final = frozenset({"name", "unit", "type"})
_NOBODY: Final = Resource("", None, None, "", {})


class FilterParameters(msgspec.Struct, frozen=True):
    """What operators may write."""

    expr: Annotated[
        Condition, msgspec.Meta(description="The condition: samples for which it is true go on.")
    ]


class Filter(Transformer):
    """Lets samples through for which a condition holds; to leave others out is no fault."""

    Parameters: ClassVar[type[msgspec.Struct]] = FilterParameters

    def __init__(self, parameters: FilterParameters) -> None:
        super().__init__(parameters)
        self._holds = parameters.expr

    def __call__(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        """Return the samples for which the condition holds."""
        made: list[Sample] = []
        holds = self._holds
        for sample in samples:
            if not is_volume(sample.volume):
                self.drop(sample, NO_VOLUME)
                continue
            try:
                if holds(sample):
                    made.append(sample)
            except EvaluationError as error:
                self.drop(sample, error.reason)
        return made

    def outcome(self, meters: Collection[Meter]) -> Collection[Meter]:
        """Return the meters that come out, so far as the condition reads nothing else of a sample.

        Raises:
            NeverMatches: it holds for none of them.
        """
        if not self._holds.fields <= _OF_METER:
            return meters
        left = [meter for meter in meters if self._may_hold(meter)]
        if meters and not left:
            raise NeverMatches("its condition is true for no meter that reaches it")
        return left

    def _may_hold(self, meter: Meter) -> bool:
        try:
            return self._holds(Sample(meter, _NOBODY, 0.0, 0))
        except EvaluationError:
            return False
