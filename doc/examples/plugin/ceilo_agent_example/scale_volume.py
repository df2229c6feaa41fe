# SPDX-License-Identifier: Apache-2.0
"""``scale_volume`` multiplies the volumes of some meters by a factor."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from typing import Annotated, ClassVar

import msgspec

from ceilo_agent.plugins import Transformer
from ceilo_agent.sample import Meter, Previous, Sample


class ScaleVolumeParameters(msgspec.Struct, kw_only=True):
    """What operators may write under ``parameters:``."""

    # A whole factor stays one, so that a counter of 64 bits keeps all its digits.
    factor: Annotated[int | float, msgspec.Meta(description="What volumes are multiplied by.")]
    meters: Annotated[
        list[str], msgspec.Meta(min_length=1, description="Names or globs of the meters.")
    ]
    unit: Annotated[
        str | None, msgspec.Meta(description="The unit of the result; without it the same.")
    ] = None

    def __post_init__(self) -> None:
        """Refuse what no type can: the message is shown with the place in the file."""
        if self.factor == 0:
            raise ValueError("factor: 0 would erase every volume")


class ScaleVolume(Transformer):
    """Multiplies volumes; the meters that it does not take pass as they are."""

    Parameters: ClassVar[type[msgspec.Struct]] = ScaleVolumeParameters

    def __init__(self, parameters: ScaleVolumeParameters) -> None:
        super().__init__(parameters)
        # Computed once, not for each batch.
        self._takes = re.compile("|".join(map(fnmatch.translate, parameters.meters))).match
        self._meters: dict[Meter, Meter | None] = {}

    def __call__(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        """Return the samples in their order."""
        return [self._scaled(sample) for sample in samples]

    def _scaled(self, sample: Sample) -> Sample:
        if sample.meter not in self._meters:
            self._meters[sample.meter] = self._becomes(sample.meter)
        meter = self._meters[sample.meter]
        if meter is None:
            return sample
        factor, previous = self.parameters.factor, sample.previous
        # The reading before is of the same series, so it is scaled as well: rates stay right.
        if isinstance(previous, Previous):
            previous = Previous(previous.elapsed, previous.volume * factor)
        # Samples are never changed: they may go to other sinks, too.
        return msgspec.structs.replace(
            sample, meter=meter, volume=sample.volume * factor, previous=previous
        )

    def _becomes(self, meter: Meter) -> Meter | None:
        """Return the one object for what a meter becomes, None where it stays."""
        if not self._takes(meter.name):
            return None
        unit = meter.unit if self.parameters.unit is None else self.parameters.unit
        return Meter(meter.name, unit, meter.type)
