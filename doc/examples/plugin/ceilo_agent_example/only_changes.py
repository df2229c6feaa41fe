# SPDX-License-Identifier: Apache-2.0
"""``only_changes`` lets a value through when it is another one than before."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Annotated, ClassVar, Final

import msgspec

from ceilo_agent.plugins import StatefulTransformer
from ceilo_agent.sample import Sample, Volume

MOST: Final = 100_000
"""Series that are remembered; beyond, the one that did not change for longest is forgotten."""


class OnlyChangesParameters(msgspec.Struct, kw_only=True):
    """What operators may write under ``parameters:``."""

    repeat: Annotated[
        Annotated[float, msgspec.Meta(ge=1)],
        msgspec.Meta(description="Seconds after which a value that stays goes on once more."),
    ] = 3600


class _State(msgspec.Struct, array_like=True):
    """What is dumped: the last time that was swept, and series, time and volume of each value."""

    swept: float | None
    values: list[tuple[str | None, str, str, float, Volume]]


class OnlyChanges(StatefulTransformer):
    """Lets a value through when it is another one than before, or that one for long."""

    Parameters: ClassVar[type[msgspec.Struct]] = OnlyChangesParameters

    def __init__(self, parameters: OnlyChangesParameters) -> None:
        super().__init__(parameters)
        self._values: dict[tuple[str | None, str, str], tuple[float, Volume]] = {}
        self._swept: float | None = None

    def __call__(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        """Return the samples that say something new."""
        made = []
        for sample in samples:
            key = self._series(sample)
            if key in self._values:
                time, volume = self._values[key]
                stays = volume == sample.volume and sample.time - time < self.parameters.repeat
                if stays or sample.time <= time:
                    continue
                del self._values[key]  # so that the one that changed last stands last
            elif len(self._values) >= MOST:
                del self._values[next(iter(self._values))]
            self._values[key] = (sample.time, sample.volume)
            made.append(sample)
        return made

    def key(self, sample: Sample) -> Hashable | None:
        """Return the series."""
        return self._series(sample)

    def tick(self, now: float) -> Sequence[Sample]:
        """Forget series that gave nothing for long; nothing is ever due."""
        repeat = self.parameters.repeat
        if self._swept is None or not 0 <= now - self._swept < repeat:
            self._swept = now
            kept = {key: each for key, each in self._values.items() if now - each[0] < 2 * repeat}
            self._values = kept
        return ()

    def dump(self) -> bytes:
        """Return the last values."""
        values = [(*key, *value) for key, value in self._values.items()]
        return msgspec.msgpack.encode(_State(self._swept, values))

    def load(self, state: bytes) -> None:
        """Take them up.

        Raises:
            ValueError: these bytes are none.
        """
        try:
            found = msgspec.msgpack.decode(state, type=_State)
        except msgspec.DecodeError as error:
            raise ValueError(f"no values: {error}") from error
        self._swept = found.swept
        self._values = {
            (source, resource, meter): (time, volume)
            for source, resource, meter, time, volume in found.values
        }

    @staticmethod
    def _series(sample: Sample) -> tuple[str | None, str, str]:
        return sample.source, sample.resource.id, sample.meter.name
