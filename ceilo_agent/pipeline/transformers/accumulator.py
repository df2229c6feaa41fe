# SPDX-License-Identifier: Apache-2.0
"""Holds samples back and lets them go together."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Annotated, ClassVar, Final, Literal

import msgspec
from msgspec import Meta

from ceilo_agent.messaging.packing import pack, unpack
from ceilo_agent.pipeline.transformers.bounds import NO_TIME, NO_VOLUME, REPEATED, is_time, keepable
from ceilo_agent.plugins import StatefulTransformer
from ceilo_agent.sample import Sample
from ceilo_agent.volumes import fit

MAX_HELD: Final = 100_000
"""Samples held when no `size` is given."""

_Series = tuple[str | None, str, str]


class AccumulatorParameters(msgspec.Struct, frozen=True):
    """What operators may write."""

    size: Annotated[
        Annotated[int, Meta(le=MAX_HELD)] | None,
        Meta(
            description="Samples, of all series together, that are held before all of them go on; "
            "below 1: none are held.",
        ),
    ] = None
    retention_time: Annotated[
        Annotated[float, Meta(ge=1, le=86_400)] | None,
        Meta(
            description="Seconds after which they go on in any case, from the first one held.",
        ),
    ] = None


class _State(msgspec.Struct, array_like=True):
    form: Literal["accumulator-1"]
    now: float | None
    opened: float
    samples: bytes


_DECODER: Final = msgspec.msgpack.Decoder(_State)


class Accumulator(StatefulTransformer):
    """Holds samples back until there are `size` of them, or for `retention_time` seconds.

    They go on unchanged and in the order in which they came. Each worker counts what it gets.
    """

    Parameters: ClassVar[type[msgspec.Struct]] = AccumulatorParameters

    def __init__(self, parameters: AccumulatorParameters) -> None:
        super().__init__(parameters)
        size, retention = parameters.size, parameters.retention_time
        if size is None:
            size = 1 if retention is None else MAX_HELD
        self._size = size
        self._held: dict[tuple[_Series, float], Sample] = {}
        self._opened = 0.0  # the tick before the first of them; before any tick its time
        self._now: float | None = None

    def __call__(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        """Return all that is held, when it is enough."""
        for sample in samples:
            if fit(sample.volume) is None:
                self.drop(sample, NO_VOLUME)
            elif not is_time(sample.time):
                self.drop(sample, NO_TIME)
            else:
                slot = (_series(sample), sample.time)
                if slot in self._held:
                    self.dropped[REPEATED] += 1
                else:
                    if not self._held:
                        self._opened = sample.time if self._now is None else self._now
                    self._held[slot] = keepable(sample)
        return self._release() if len(self._held) >= self._size else []

    def key(self, sample: Sample) -> Hashable | None:
        """Return the series of a sample; None where none is held."""
        return None if self._size <= 1 else _series(sample)

    def tick(self, now: float) -> Sequence[Sample]:
        """Return all that is held, when the first of it is held for long enough."""
        self._now = now
        self._opened = min(self._opened, now)  # the clock may have been set back
        retention = self.parameters.retention_time
        if not self._held or retention is None or now - self._opened < retention:
            return []
        return self._release()

    def resume(self, now: float) -> None:
        """Take what came since the last tick as come at `now`."""
        if self._now is None or self._opened >= self._now:
            self._opened = now

    def _release(self) -> list[Sample]:
        released = list(self._held.values())
        self._held = {}
        return released

    def dump(self) -> bytes:
        """Return what is held."""
        held = pack(self._held.values())
        return msgspec.msgpack.encode(("accumulator-1", self._now, self._opened, held))

    def load(self, state: bytes) -> None:
        """Take up a state that `dump` returned.

        Raises:
            ValueError: these bytes are no such state.
        """
        try:
            found = _DECODER.decode(state)
        except (msgspec.DecodeError, RecursionError) as error:
            raise ValueError(f"no state of an accumulator: {error}") from error
        samples = unpack(found.samples)
        self._held = {(_series(sample), sample.time): sample for sample in samples}
        self._now, self._opened = found.now, found.opened


def _series(sample: Sample) -> _Series:
    return sample.source, sample.resource.id, sample.meter.name
