# SPDX-License-Identifier: Apache-2.0
"""What a rate and a delta share: the reading before, and where it is kept if nobody sent it."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from typing import Annotated, Any, Final, Literal

from msgspec import Meta

from ceilo_agent.pipeline.transformers.bounds import NO_TIME, NO_VOLUME, is_time
from ceilo_agent.pipeline.transformers.last_seen import LastSeen
from ceilo_agent.pipeline.transformers.mapping import MeterMap
from ceilo_agent.plugins import NeverMatches, StatefulTransformer
from ceilo_agent.sample import FIRST, UNTRACKED, History, Meter, Previous, Sample, SampleType
from ceilo_agent.volumes import fit

REPEATED: Final = "it has the time of the reading before: the same sample again"
OLDER: Final = "it is older than the reading before"
NOT_LATER: Final = "its previous reading is not before it"

RETENTION: Final = 3600.0
"""Seconds for which the last reading of a foreign series is good."""

Retention = Annotated[
    float,
    Meta(
        gt=0,
        description="Seconds for which the last reading of a series is kept, for samples that "
        "come without their previous reading.",
    ),
]


class Growth(StatefulTransformer):
    """Compares a reading with the one before.

    A sample that brings the reading before with it needs no state: any worker may have it. For one
    that does not (UNTRACKED) the last reading of its series is kept here.

    Args:
        parameters: with `retention`.
        meters: what comes out.
    """

    def __init__(self, parameters: Any, meters: MeterMap) -> None:
        super().__init__(parameters)
        self._meters = meters
        self._last_seen = LastSeen(parameters.retention)

    def key(self, sample: Sample) -> Hashable | None:
        """Return the series of a sample that comes without its previous reading."""
        if sample.previous is not UNTRACKED or self._meters[sample.meter] is None:
            return None
        return sample.source, sample.resource.id, sample.meter.name

    def tick(self, now: float) -> Sequence[Sample]:
        """Forget readings that are too old; nothing is ever due."""
        self._last_seen.tick(now)
        return ()

    def dump(self) -> bytes:
        """Return the last readings."""
        return self._last_seen.dump()

    def load(self, state: bytes) -> None:
        """Take up last readings.

        Raises:
            ValueError: these bytes are none.
        """
        self._last_seen.load(state)

    def outcome(self, meters: Collection[Meter]) -> Collection[Meter]:
        """Return the meters that come out.

        Raises:
            NeverMatches: it takes none of them, or all are deltas.
        """
        made = self._meters.outcome(meters)
        if meters and all(meter.type is SampleType.DELTA for meter in meters):
            raise NeverMatches("every meter that reaches it is a delta, without a reading before")
        return made

    def follow(self, sample: Sample) -> Previous | Literal[History.FIRST]:
        """Return the reading before of an UNTRACKED sample, and remember this one.

        FIRST if there is none, and for a sample that is dropped, which is counted.
        """
        reading = fit(sample.volume)
        if reading is None or not is_time(sample.time):
            self.drop(sample, NO_VOLUME if reading is None else NO_TIME)
            return FIRST
        before = self._last_seen.replace(sample, reading)
        if before is None:
            return FIRST
        elapsed, volume = before
        if elapsed > 0:
            return Previous(elapsed, volume)
        self.drop(sample, REPEATED if elapsed == 0 else OLDER)
        return FIRST
