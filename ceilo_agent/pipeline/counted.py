# SPDX-License-Identifier: Apache-2.0
"""A chain that counts what goes into its steps and what comes out, to tell where samples stay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from ceilo_agent.pipeline.chain import Chain, Step
from ceilo_agent.pipeline.journal import Journal
from ceilo_agent.sample import FIRST, Sample

_OF_TWO_READINGS: Final = ("rate_of_change", "delta")
"""Transformers that make nothing of a first reading."""


class Counts(msgspec.Struct):
    """Of one step.

    Attributes:
        taken: samples that it got.
        first: those of them that are a first reading.
        made: samples that it gave, without those that passed it by.
    """

    taken: int = 0
    first: int = 0
    made: int = 0

    def told(self, name: str) -> str:
        """Say what a step of this name did to the samples, if it gave fewer than it got."""
        if self.made >= self.taken:
            return ""
        told = f"{self.taken} in, {self.made} out"
        if self.first and name in _OF_TWO_READINGS:
            told += f"; {self.first} a first reading, of which nothing is made"
        return told


class CountedStep(Step, frozen=True, eq=False):
    """A step that counts.

    Attributes:
        counts: since it was made.
    """

    counts: Counts = msgspec.field(default_factory=Counts)

    def __call__(
        self, samples: Sequence[Sample], journal: Journal | None = None
    ) -> Sequence[Sample]:
        """Return what the samples become, after those that pass it by."""
        takes = self.takes
        into = [each for each in samples if takes is None or takes(each.meter.name)]
        made = Step.__call__(self, samples, journal)
        self.counts.taken += len(into)
        self.counts.first += sum(each.previous is FIRST for each in into)
        beside = len(samples) - len(into) + (len(into) if self.keep_original else 0)
        self.counts.made += len(made) - beside
        return made


class CountedChain(Chain):
    """A chain of steps that count, what the timer makes of samples included."""

    def __call__(self, samples: Sequence[Sample], first: int = 0) -> Sequence[Sample]:
        """Return what the samples become from the step number `first` on."""
        if first:  # from the timer of the step before
            step = self.steps[first - 1]
            assert isinstance(step, CountedStep)
            step.counts.made += len(samples)
        return super().__call__(samples, first)
