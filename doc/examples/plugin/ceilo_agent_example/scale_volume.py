# SPDX-License-Identifier: Apache-2.0
"""``scale_volume`` multiplies volumes by a factor."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Annotated, ClassVar

import msgspec

from ceilo_agent.plugins import Transformer
from ceilo_agent.sample import FIRST, Meter, Previous, Sample, Volume


class ScaleVolumeParameters(msgspec.Struct, kw_only=True):
    """What operators may write under ``parameters:``."""

    # A whole factor stays one, so that a counter of 64 bits keeps all its digits.
    factor: Annotated[int | float, msgspec.Meta(description="What volumes are multiplied by.")]
    unit: Annotated[
        str | None, msgspec.Meta(description="The unit of the result; without it the same.")
    ] = None

    def __post_init__(self) -> None:
        """Refuse what no type can: the message is shown with the place in the file."""
        if self.factor == 0:
            raise ValueError("factor: 0 would erase every volume")


class ScaleVolume(Transformer):
    """Multiplies volumes; which meters it gets, the step's key ``meters`` says."""

    Parameters: ClassVar[type[msgspec.Struct]] = ScaleVolumeParameters

    def __init__(self, parameters: ScaleVolumeParameters) -> None:
        super().__init__(parameters)
        # One object for each meter, not one for each sample.
        self._meters: dict[Meter, Meter] = {}

    def __call__(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        """Return the scaled samples in their order."""
        made: list[Sample] = []
        for sample in samples:
            volume, previous = self._scaled(sample.volume), sample.previous
            if volume is None:
                self.drop(sample, "the result is no finite number")
                continue
            # The reading before is of the same series, so it is scaled as well: rates stay right.
            if isinstance(previous, Previous):
                before = self._scaled(previous.volume)
                previous = FIRST if before is None else Previous(previous.elapsed, before)
            # Samples are never changed: they may go to other sinks, too.
            made.append(
                msgspec.structs.replace(
                    sample, meter=self._becomes(sample.meter), volume=volume, previous=previous
                )
            )
        return made

    def outcome(self, meters: Collection[Meter]) -> Collection[Meter]:
        """Return the meters that come out."""
        return [self._becomes(meter) for meter in meters]

    def _scaled(self, volume: Volume) -> Volume | None:
        """Return the product as 64 bits hold it, None where they do not."""
        try:
            product = volume * self.parameters.factor
            if isinstance(product, int) and not -(2**63) <= product < 2**64:
                product = float(product)
        except OverflowError:
            return None
        return product if math.isfinite(product) else None

    def _becomes(self, meter: Meter) -> Meter:
        if meter not in self._meters:
            unit = meter.unit if self.parameters.unit is None else self.parameters.unit
            self._meters[meter] = Meter(meter.name, unit, meter.type)
        return self._meters[meter]
