# SPDX-License-Identifier: Apache-2.0
"""Makes one sample of the many that fall into a window."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Hashable, Iterable, Sequence
from typing import Annotated, Any, ClassVar, Final, Literal

import msgspec
from msgspec import Meta

from ceilo_agent.expressions.expression import EvaluationError
from ceilo_agent.pipeline.transformers.bounds import (
    NO_TIME,
    NO_VOLUME,
    REPEATED,
    TOO_LARGE,
    is_time,
    keepable,
)
from ceilo_agent.pipeline.transformers.closed import ClosedWindows, Marks
from ceilo_agent.pipeline.transformers.grouping import Group, Grouping, Policy, check_fields
from ceilo_agent.pipeline.transformers.mapping import Mapping, MeterMap
from ceilo_agent.pipeline.transformers.merging import Method, merge, merged_type
from ceilo_agent.pipeline.transformers.unit_conversion import Target
from ceilo_agent.pipeline.transformers.window import Window, Windows, WindowsState
from ceilo_agent.plugins import StatefulTransformer
from ceilo_agent.sample import Meter, Sample, SampleType, Volume
from ceilo_agent.volumes import fit

LOG = logging.getLogger(__name__)

LATE: Final = "its window was closed before it came"


class AggregatorParameters(Mapping, frozen=True):
    """What operators may write."""

    target: Annotated[Target | None, Meta(description="What comes out.")] = None
    size: Annotated[
        Annotated[int, Meta(ge=0, le=100_000)] | None,
        Meta(description="Samples of a group that close its window; 0: none do."),
    ] = None
    retention_time: Annotated[
        Annotated[float, Meta(ge=1, le=31_622_400)] | None,
        Meta(description="Seconds that a window is long."),
    ] = None
    grace: Annotated[
        float,
        Meta(ge=0, le=86_400, description="Seconds that a window waits for late samples."),
    ] = 10
    group_by: Annotated[
        list[str] | None,
        Meta(
            description="What samples of one window have in common: resource_id, project_id, "
            "user_id, resource_metadata.NAME. Default: resource_id, project_id, user_id."
        ),
    ] = None
    method: Annotated[
        Method | None,
        Meta(
            description="How the values of a group become one. Default: the mean of gauges, the "
            "sum of deltas, the last of counters; the sum for a group of several resources."
        ),
    ] = None
    project_id: Annotated[
        Policy | None,
        Meta(description="Whose project the output has; then it is no part of the group."),
    ] = None
    user_id: Annotated[
        Policy | None,
        Meta(description="Whose user the output has; then it is no part of the group."),
    ] = None
    resource_metadata: Annotated[
        Literal["first", "last", "drop"] | None,
        Meta(
            description="Whose metadata the output has; drop: only the fields of the group. "
            "Default: last; drop for a group of several resources."
        ),
    ] = None
    timestamp: Annotated[
        Policy, Meta(description="Whether the output has the first or the last time of the window.")
    ] = "first"

    def __post_init__(self) -> None:
        """Refuse what contradicts itself."""
        super().__post_init__()
        fields = self.group_by
        if fields is None:
            return
        check_fields(fields)
        for field, policy in (("project_id", self.project_id), ("user_id", self.user_id)):
            if policy and field in fields:
                raise ValueError(
                    f"{field}: {policy} says that {field} is no part of the group, "
                    "and group_by that it is"
                )
        if "resource_id" not in fields:
            if not self.retention_time:
                raise ValueError(
                    "group_by without resource_id: a group of several resources needs a "
                    "retention_time"
                )
            if self.size:
                raise ValueError(
                    "group_by without resource_id: a group of several resources takes no size"
                )


class _State(msgspec.Struct, array_like=True):
    form: Literal["aggregator-1"]
    windows: WindowsState
    meters: list[Meter]
    closed: list[tuple[int, list[str | None], list[int], float]]
    marks: list[tuple[int, list[str | None], float, float]]


_DECODER: Final = msgspec.msgpack.Decoder(_State)


class Aggregator(StatefulTransformer):
    """Makes one sample of all that a group has in a window.

    Without `size`, windows are stretches of `retention_time` seconds that begin at multiples of it,
    by the samples' own time; so that every worker has the same ones. With `size`, a group's window
    begins with its first sample.

    Attributes:
        closed_early: windows that were closed because too many samples were held.
    """

    Parameters: ClassVar[type[msgspec.Struct]] = AggregatorParameters

    def __init__(self, parameters: AggregatorParameters) -> None:
        super().__init__(parameters)
        size = parameters.size or None
        self._retention = parameters.retention_time
        self._size = 1 if size is None and self._retention is None else size
        self._group = Grouping(
            parameters.group_by,
            parameters.project_id,
            parameters.user_id,
            parameters.resource_metadata,
        )
        self.spans_hosts = self._group.spans
        self.closed_early = 0
        target = parameters.target
        self._scale = target.scale if target else None
        self._max = target.max if target else None
        self._maps = {
            type_: MeterMap(
                parameters.source,
                target,
                (target and target.type)
                or merged_type(type_, parameters.method, self._group.spans),
            )
            for type_ in SampleType
        }
        self._windows: Windows[Any] = Windows(parameters.grace)
        self._closed: ClosedWindows[Group] = ClosedWindows()
        self._marks: Marks[Group] = Marks()

    def __call__(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        """Return the samples of the windows that these ones filled, and those in another unit."""
        out: list[Sample] = []
        for sample in samples:
            if fit(sample.volume) is None:
                self.drop(sample, NO_VOLUME)
            elif self._maps[sample.meter.type][sample.meter] is None:
                out.append(keepable(sample))
            elif not is_time(sample.time):
                self.drop(sample, NO_TIME)
            elif (group := self._group(sample)) is None:
                # No fault: a host outside a cloud has no project.
                self.dropped[f"it has no {self._group.lacking(sample)}, a field of group_by"] += 1
            elif (volume := self._scaled(sample)) is not None:
                if self._size is None:
                    self._add_aligned(group, sample, volume)
                else:
                    out += self._add_sized(group, sample, volume)
        for key, window in self._windows.excess():
            self._tell_early()
            out += self._made(key, window)
        return out

    def key(self, sample: Sample) -> Hashable | None:
        """Return the group of a sample; None where each is a window of its own."""
        if (
            self._size == 1
            or self._maps[sample.meter.type][sample.meter] is None
            or fit(sample.volume) is None
            or not is_time(sample.time)
        ):
            return None
        return self._group(sample)

    def tick(self, now: float) -> Sequence[Sample]:
        """Return the samples of the windows whose time is over."""
        self._closed.tick(now)
        self._marks.tick(now)
        return [
            sample for key, window in self._windows.tick(now) for sample in self._made(key, window)
        ]

    def resume(self, now: float) -> None:
        """Take what came since the last tick as come at `now`."""
        self._windows.resume(now)

    def outcome(self, meters: Collection[Meter]) -> Collection[Meter]:
        """Return the meters that come out where these go in.

        Raises:
            NeverMatches: it takes none of them.
        """
        self._maps[SampleType.GAUGE].outcome(meters)
        return [self._maps[meter.type][meter] or meter for meter in meters]

    # -- what goes in ----------------------------------------------------------------------------

    def _scaled(self, sample: Sample) -> Volume | None:
        """Return the volume in the target's unit; None when there is none, which is counted."""
        scale = self._scale
        try:
            if scale is None:
                volume = fit(sample.volume)
            elif isinstance(scale, int | float):
                volume = fit(sample.volume * scale)
            else:
                volume = fit(scale(sample))
        except EvaluationError as error:
            self.drop(sample, error.reason)
            return None
        except OverflowError:
            volume = None
        if volume is None:
            self.drop(sample, TOO_LARGE)
        return volume

    def _add_aligned(self, group: Group, sample: Sample, volume: Volume) -> None:
        assert self._retention is not None
        number = math.floor(sample.time / self._retention)
        if self._closed.has(group, number):
            self.drop(sample, LATE)
            return
        key = (group, number)
        start = number * self._retention
        window = self._windows.get(key) or self._windows.open(
            key, start, start + self._retention, sample
        )
        if not self._windows.add(key, window, sample, volume):
            self.dropped[REPEATED] += 1

    def _add_sized(self, group: Group, sample: Sample, volume: Volume) -> Iterable[Sample]:
        if self._size == 1:
            alone = Window(sample.time, None, 0, sample)
            alone.volumes[sample.resource.id, sample.time] = volume
            return self._output(group, alone)
        if self._marks.passed(group, sample.time):
            self.drop(sample, LATE)
            return ()
        out: list[Sample] = []
        window = self._windows.get(group)
        if window is not None and window.end is not None and sample.time >= window.end:
            out += self._made(group, self._windows.close(group))
            window = None
        if window is None:
            end = None if self._retention is None else sample.time + self._retention
            window = self._windows.open(group, sample.time, end, sample)
        if not self._windows.add(group, window, sample, volume):
            self.dropped[REPEATED] += 1
        assert self._size is not None
        if len(window.volumes) >= self._size:
            out += self._made(group, self._windows.close(group))
        return out

    # -- what comes out --------------------------------------------------------------------------

    def _made(self, key: Any, window: Window) -> Iterable[Sample]:
        """Return the output of a window that was taken out, and remember that it is closed."""
        if self._size is not None:
            self._marks.put(key, window.last.time)
            return self._output(key, window)
        group, number = key
        self._closed.add(group, number, window.last.time)
        return self._output(group, window)

    def _output(self, group: Group, window: Window) -> Iterable[Sample]:
        first, last = window.first, window.last
        meter = last.meter
        try:
            made = merge(window.volumes, meter.type, self.parameters.method, self._group.spans)
        except OverflowError:
            made = math.inf
        volume = fit(made)
        if volume is None:
            self.drop(last, TOO_LARGE)
            return ()
        if self._max is not None:
            volume = min(volume, self._max)
        target = self._maps[meter.type][meter]
        assert target is not None
        return (
            Sample(
                target,
                self._group.resource(group, first, last),
                self._time(window),
                volume,
                started=self._started(target, window),
                source=first.source if first.source == last.source else None,
            ),
        )

    def _started(self, target: Meter, window: Window) -> float | None:
        """Return when the output's counter began, or what the delta begins with."""
        if target.type is SampleType.DELTA:
            return window.first.started
        if target.type is SampleType.CUMULATIVE and not self._group.spans:
            return window.last.started
        return None

    def _time(self, window: Window) -> float:
        takes_first = self.parameters.timestamp == "first"
        if self._size is not None:
            return window.first.time if takes_first else window.last.time
        assert window.end is not None
        return window.start if takes_first else window.end

    def _tell_early(self) -> None:
        if not self.closed_early:
            LOG.warning("aggregator: too many samples are held, windows are closed too early")
        self.closed_early += 1

    # -- state -----------------------------------------------------------------------------------

    def dump(self) -> bytes:
        """Return the open windows, and which ones were closed."""
        meters: dict[Any, int] = {}
        closed = [
            (meters.setdefault(group[0], len(meters)), list(group[1:]), list(runs), stamp)
            for group, runs, stamp in self._closed.rows()
        ]
        marks = [
            (meters.setdefault(group[0], len(meters)), list(group[1:]), time, stamp)
            for group, time, stamp in self._marks.rows()
        ]
        windows = self._windows.dump()
        return msgspec.msgpack.encode(("aggregator-1", windows, list(meters), closed, marks))

    def load(self, state: bytes) -> None:
        """Take up a state that `dump` returned.

        Raises:
            ValueError: these bytes are no such state.
        """
        windows: Windows[Any] = Windows(self.parameters.grace)
        closed: ClosedWindows[Group] = ClosedWindows()
        marks: Marks[Group] = Marks()
        try:
            found = _DECODER.decode(state)
            windows.load(found.windows, self._key_of)
            meters, now = found.meters, found.windows.now
            closed.restore(
                [((meters[at], *values), runs, age) for at, values, runs, age in found.closed], now
            )
            marks.restore(
                [((meters[at], *values), time, age) for at, values, time, age in found.marks], now
            )
        except (msgspec.DecodeError, LookupError, OverflowError, RecursionError) as error:
            raise ValueError(f"no state of an aggregator: {error}") from error
        self._windows, self._closed, self._marks = windows, closed, marks

    def _key_of(self, sample: Sample) -> Hashable:
        """Return the key of a window that was saved."""
        group = self._group(sample)
        if group is None:
            raise ValueError("a window of no group")
        if self._size is not None:
            return group
        assert self._retention is not None
        return group, math.floor(sample.time / self._retention)
