# SPDX-License-Identifier: Apache-2.0
"""Computes a meter from several others of the same resource, read in the same cycle."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, ClassVar, Final, Literal

import msgspec
from msgspec import Meta

from ceilo_agent.expressions.formula import EvaluationError, Formula
from ceilo_agent.messaging.packing import pack, unpack
from ceilo_agent.pipeline.transformers.aging import Aging
from ceilo_agent.pipeline.transformers.bounds import (
    NO_TIME,
    NO_VOLUME,
    REPEATED,
    TOO_LARGE,
    is_time,
    keepable,
)
from ceilo_agent.pipeline.transformers.closed import Marks
from ceilo_agent.pipeline.transformers.mapping import Name
from ceilo_agent.plugins import NeverMatches, StatefulTransformer
from ceilo_agent.sample import Meter, Previous, Sample, SampleType
from ceilo_agent.volumes import fit

MAX_SETS: Final = 200_000
"""Incomplete sets kept; beyond, the oldest is dropped."""
KEPT_FOR: Final = 600.0
"""Seconds after which a set that nothing joins is dropped."""

LATE: Final = "it came after a newer one of its resource"
INCOMPLETE: Final = "other meters of the expression did not come with it"

_Key = tuple[str | None, str]


class Target(msgspec.Struct, frozen=True):
    """What comes out."""

    expr: Annotated[
        Formula,
        Meta(description="What is computed. $(meter) is the volume of a meter."),
    ]
    name: Annotated[
        Name | None,
        Meta(description="Its name. Default: of the first meter in the expression."),
    ] = None
    unit: Annotated[
        str | None, Meta(description="Its unit. Default: of the first meter in the expression.")
    ] = None
    type: Annotated[
        SampleType | None,
        Meta(description="Its type. Default: of the first meter in the expression."),
    ] = None


class ArithmeticParameters(msgspec.Struct, frozen=True):
    """What operators may write."""

    target: Annotated[Target, Meta(description="What comes out.")]
    window: Annotated[
        float,
        Meta(
            ge=0,
            le=3600,
            description="Seconds that the times of samples which belong together may differ by.",
        ),
    ] = 10


class _Set:
    """Samples of one cycle.

    Attributes:
        samples: by meter, in the order of arrival.
        start: the time of the first that arrived.
        reach: seconds that the others may be away from it.
    """

    __slots__ = ("reach", "samples", "start")

    def __init__(self, start: float, reach: float) -> None:
        self.samples: dict[str, Sample] = {}
        self.start = start
        self.reach = reach


class _SavedSet(msgspec.Struct, array_like=True):
    size: int
    start: float
    reach: float
    stamp: float


class _State(msgspec.Struct, array_like=True):
    form: Literal["arithmetic-1"]
    now: float | None
    sets: list[_SavedSet]
    samples: bytes
    marks: list[tuple[str | None, str, float, float]]


_DECODER: Final = msgspec.msgpack.Decoder(_State)


class Arithmetic(StatefulTransformer):
    """Computes a meter from several others of the same resource, read in the same cycle.

    Samples of one resource and source belong together when their times are near each other. The
    result comes out as soon as the last of the meters is there.
    """

    Parameters: ClassVar[type[msgspec.Struct]] = ArithmeticParameters

    def __init__(self, parameters: ArithmeticParameters) -> None:
        super().__init__(parameters)
        self._formula = parameters.target.expr
        self._meters = frozenset(self._formula.meters)
        self._targets: dict[Meter, Meter] = {}
        self._now: float | None = None
        self._sets: Aging[_Key, _Set] = Aging(MAX_SETS + 1)
        self._marks: Marks[_Key] = Marks()

    def __call__(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        """Return what the sets give that these samples complete."""
        out: list[Sample] = []
        for sample in samples:
            if sample.meter.name not in self._meters:
                continue
            if fit(sample.volume) is None:
                self.drop(sample, NO_VOLUME)
            elif not is_time(sample.time):
                self.drop(sample, NO_TIME)
            elif len(self._meters) == 1:
                out += self._computed({sample.meter.name: sample}, sample.time)
            else:
                out += self._joined(sample)
        return out

    def key(self, sample: Sample) -> Hashable | None:
        """Return source and resource; None for a sample that needs no other."""
        if len(self._meters) == 1 or sample.meter.name not in self._meters:
            return None
        return sample.source, sample.resource.id

    def tick(self, now: float) -> Sequence[Sample]:
        """Drop the sets that stayed incomplete for long; nothing comes out."""
        self._now = now
        self._marks.tick(now)
        for stale in self._sets.tick(now, KEPT_FOR):
            self._give_up(stale)
        return []

    def resume(self, now: float) -> None:
        """Take what came since the last tick as come at `now`."""
        self._sets.resume(now)

    def outcome(self, meters: Collection[Meter]) -> Collection[Meter]:
        """Return the meter that comes out where these go in.

        Raises:
            NeverMatches: a meter of the expression is not among them.
        """
        by_name = {meter.name: meter for meter in meters}
        for name in self._formula.meters:
            if name not in by_name:
                raise NeverMatches(f"no sample of '{name}' reaches it")
        return [self._target(by_name[self._formula.meters[0]])]

    # -- sets ------------------------------------------------------------------------------------

    def _joined(self, sample: Sample) -> Iterable[Sample]:
        """Put a sample into the set of its cycle; return the result of a set that is complete."""
        key, name = (sample.source, sample.resource.id), sample.meter.name
        if self._marks.passed(key, sample.time):
            self.dropped[REPEATED] += 1
            return ()
        found = self._sets.get(key)
        reach = self._reach(sample)
        if found is not None:
            there = found.samples.get(name)
            if there is not None and there.time == sample.time:
                self.dropped[REPEATED] += 1
                return ()
            near = abs(sample.time - found.start) <= min(reach, found.reach)
            if there is not None or not near:
                if sample.time < (there.time if there is not None else found.start):
                    self.drop(sample, LATE)
                    return ()
                self._give_up(found)
                found = None
        if found is None:
            found = _Set(sample.time, reach)
        found.reach = min(found.reach, reach)
        found.samples[name] = keepable(sample)
        if len(found.samples) < len(self._meters):
            self._sets.put(key, found, sample.time)
            if len(self._sets) > MAX_SETS:
                self._give_up(self._sets.oldest())
            return ()
        self._sets.pop(key)
        latest = max(each.time for each in found.samples.values())
        self._marks.put(key, latest)
        return self._computed(found.samples, latest)

    def _reach(self, sample: Sample) -> float:
        """Return how far the others of a sample's cycle may be from it.

        Never more than half of the way to the reading before, which is of another cycle.
        """
        previous = sample.previous
        window: float = self.parameters.window
        return min(window, previous.elapsed / 2) if isinstance(previous, Previous) else window

    def _give_up(self, found: _Set) -> None:
        for sample in found.samples.values():
            self.drop(sample, INCOMPLETE)

    def _computed(self, samples: Mapping[str, Sample], time: float) -> Iterator[Sample]:
        first = samples[self._formula.meters[0]]
        try:
            volume = fit(self._formula(samples))
        except EvaluationError as error:
            self.drop(first, error.reason)
            return
        if volume is None:
            self.drop(first, TOO_LARGE)
            return
        target = self._target(first.meter)
        yield Sample(target, first.resource, time, volume, source=first.source)

    def _target(self, first: Meter) -> Meter:
        made = self._targets.get(first)
        if made is None:
            target = self.parameters.target
            made = Meter(
                target.name or first.name,
                first.unit if target.unit is None else target.unit,
                target.type or first.type,
            )
            if len(self._targets) >= 100:  # units of one meter, from foreign producers
                self._targets.clear()
            self._targets[first] = made
        return made

    # -- state -----------------------------------------------------------------------------------

    def dump(self) -> bytes:
        """Return the incomplete sets, and up to when each resource was computed."""
        sets = []
        samples: list[Sample] = []
        for _, found, stamp in self._sets.rows():
            sets.append(_SavedSet(len(found.samples), found.start, found.reach, stamp))
            samples += found.samples.values()
        marks = [(*key, time, stamp) for key, time, stamp in self._marks.rows()]
        return msgspec.msgpack.encode(("arithmetic-1", self._now, sets, pack(samples), marks))

    def load(self, state: bytes) -> None:
        """Take up a state that `dump` returned.

        Raises:
            ValueError: these bytes are no such state.
        """
        try:
            found = _DECODER.decode(state)
        except (msgspec.DecodeError, RecursionError) as error:
            raise ValueError(f"no state of an arithmetic: {error}") from error
        samples = iter(unpack(found.samples))
        rows = []
        for row in found.sets:
            made = _Set(row.start, row.reach)
            for _, sample in zip(range(row.size), samples, strict=False):
                made.samples[sample.meter.name] = sample
            if not 0 < len(made.samples) == row.size or not made.samples.keys() < self._meters:
                raise ValueError("no state of an arithmetic: a set does not hold together")
            one = next(iter(made.samples.values()))
            rows.append(((one.source, one.resource.id), made, row.stamp))
        self._now = found.now
        self._sets.restore(rows, found.now)
        self._marks.restore(
            [((source, resource), time, stamp) for source, resource, time, stamp in found.marks],
            found.now,
        )
