# SPDX-License-Identifier: Apache-2.0
"""From what was read to samples that carry their previous reading.

This is the one place that remembers readings: everything downstream gets rates and deltas from the
sample alone. Readings are kept per source, resource and meter.

In nearly every cycle a resource gives the same meters as in the one before, all of them at one
moment. So its last readings are kept as a row: one clock, one tuple of volumes. What does not fit
the row (a meter that came or went, a counter that fell) takes the longer way, reading by reading.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter, lt
from typing import Any, Final, NamedTuple

import msgspec

from ceilo_agent.plugins import Column, Derivation, Observation
from ceilo_agent.sample import FIRST, Meter, Previous, Sample, SampleType, Volume

MIN_MAX_AGE: Final = 3600.0
"""Seconds for which a last reading is good whatever the interval."""

Reading = tuple[float, Volume, float]
"""Clock (CLOCK_BOOTTIME seconds), volume, and when the series started (UTC seconds)."""


class Row(msgspec.Struct, array_like=True, gc=False):
    """The last readings of one resource.

    Attributes:
        owner: the target they were read from.
        incarnation: of the counters.
        clock: when the row was read.
        names: the meters of the row.
        volumes: one per name.
        started: one per name.
        others: readings that are not of the row: older ones, and those of derived meters.
    """

    owner: str
    incarnation: str
    clock: float = 0.0
    names: tuple[str, ...] = ()
    volumes: tuple[Volume, ...] = ()
    started: tuple[float, ...] = ()
    others: dict[str, Reading] = {}

    def readings(self) -> dict[str, Reading]:
        """Return all readings by the meter's name."""
        row = zip(self.names, self.volumes, self.started, strict=True)
        return self.others | {name: (self.clock, volume, began) for name, volume, began in row}


class Dump(msgspec.Struct):
    """A tracker's memory: rows by resource id, their names replaced by a number in `names`."""

    names: list[tuple[str, ...]]
    rows: dict[str, tuple[int, Row]]


class _Derived(NamedTuple):
    """A derived meter; `over` is the position that a mean is over, the first one otherwise."""

    meter: Meter
    how: Derivation
    first: int
    over: int
    per: float


class _Shape:
    """Which columns of a kind a source takes and a resource gives, and how to pick them.

    Attributes:
        names: of the meters, in the order of the columns.
        meters: None for one that is read only because others are derived from it.
        derived: by positions in `names`.
        pick: from the volumes of an observation to those of the row.
        absent: from the volumes of an observation to those that must be None.
        counters: from the volumes of a row to those of the counters among them.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        reads: Sequence[int],
        given: Sequence[int],
        taken: frozenset[str],
    ) -> None:
        chosen = [columns[index] for index in given]
        self.names = tuple(column.meter.name for column in chosen)
        self.meters = tuple(c.meter if c.meter.name in taken else None for c in chosen)
        absent = sorted(set(reads) - set(given))
        self.absent = _picker(absent)
        self.nothing = (None,) * len(absent)
        self.pick = _picker(given)
        rising = [n for n, c in enumerate(chosen) if c.meter.type is SampleType.CUMULATIVE]
        self.counters = _picker(rising)
        self.derived = [
            _Derived(
                c.meter, c.derive, self.names.index(c.of[0]), self.names.index(c.of[-1]), c.per
            )
            for c in columns
            if c.derive is not None and c.meter.name in taken and set(c.of) <= set(self.names)
        ]


class _Kind:
    """What a source takes of one tuple of columns."""

    def __init__(self, columns: tuple[Column, ...], selects: Callable[[str], bool]) -> None:
        self.columns = columns  # kept so that its identity stays its own
        self.taken = frozenset(c.meter.name for c in columns if selects(c.meter.name))
        needed = self.taken.union(*(c.of for c in columns if c.meter.name in self.taken))
        self.reads = [
            index
            for index, column in enumerate(columns)
            if column.derive is None and column.meter.name in needed
        ]
        self._shapes: dict[tuple[int, ...], _Shape] = {}
        self.last: dict[tuple[str, ...], _Shape] = {}

    def shape(self, volumes: Sequence[Volume | None]) -> _Shape:
        """Return the shape of an observation."""
        given = tuple(index for index in self.reads if volumes[index] is not None)
        shape = self._shapes.get(given)
        if shape is None:
            shape = self._shapes[given] = _Shape(self.columns, self.reads, given, self.taken)
            self.last[shape.names] = shape
        return shape


class Tracker:
    """Makes the samples of one source.

    Args:
        source: the source's name.
        selects: whether the source takes a meter, by its name.
        interval: seconds between its polls.
        by_owner: keep readings of a resource apart by the target that they were read from: some
            targets may become another agent's, and others of the same resource may not.
    """

    def __init__(
        self,
        source: str,
        selects: Callable[[str], bool],
        interval: float,
        *,
        by_owner: bool = False,
    ) -> None:
        self.source = source
        self._by_owner = by_owner
        self._selects = selects
        self._max_age = max(10 * interval, MIN_MAX_AGE)
        self._rows: dict[str, Row] = {}
        self._kinds: dict[int, _Kind] = {}

    def samples(self, observations: Iterable[Observation]) -> list[Sample]:
        """Return the samples of all observations, in their order, and remember the readings."""
        made: list[Sample] = []
        for seen in observations:
            kind = self._kinds.get(id(seen.columns))
            if kind is None:
                kind = self._kinds[id(seen.columns)] = _Kind(seen.columns, self._selects)
            if not kind.reads:
                continue
            name = seen.resource.id
            if self._by_owner:
                name = f"{seen.owner}\n{name}"
            row = self._rows.get(name)
            if row is None or row.incarnation != seen.incarnation:
                row = self._rows[name] = Row(seen.owner, seen.incarnation, others={})
            if not self._follow(seen, kind, row, made):
                self._compare(seen, kind, row, made)
        return made

    def keep(self, owners: Iterable[str] | None, clock: float) -> None:
        """Forget readings that are too old to be of use, and those of all other owners.

        Args:
            owners: who is there; None where that is not known.
            clock: now, CLOCK_BOOTTIME.
        """
        alive = None if owners is None else set(owners)
        oldest = clock - self._max_age
        self._rows = {
            name: row
            for name, row in self._rows.items()
            if row.clock >= oldest and (alive is None or row.owner in alive)
        }

    def dump(self) -> Dump:
        """Return what is remembered; it shares its parts with the tracker."""
        numbers: dict[tuple[str, ...], int] = {}
        rows = {
            resource: (numbers.setdefault(row.names, len(numbers)), row)
            for resource, row in self._rows.items()
        }
        return Dump(list(numbers), rows)

    def load(self, dump: Dump) -> None:
        """Take up what another run remembered."""
        self._rows = {}
        for resource, (number, row) in dump.rows.items():
            row.names = dump.names[number]
            if not len(row.names) == len(row.volumes) == len(row.started):
                raise ValueError(f"the readings of {resource} do not fit their names")
            self._rows[resource] = row

    def _follow(self, seen: Observation, kind: _Kind, row: Row, made: list[Sample]) -> bool:
        """Append samples if the observation is one more of the row's shape.

        The hot path: a million values a second.
        """
        shape = kind.last.get(row.names)
        elapsed = seen.clock - row.clock
        if shape is None or not 0.0 < elapsed <= self._max_age:
            return False
        found, before = seen.volumes, row.volumes
        volumes = shape.pick(found)
        if None in volumes or shape.absent(found) != shape.nothing:
            return False
        if any(map(lt, shape.counters(volumes), shape.counters(before))):
            return False
        resource, time, source = seen.resource, seen.time, self.source
        made += [
            Sample(meter, resource, time, volume, Previous(elapsed, last), started, source)
            for meter, volume, last, started in zip(
                shape.meters, volumes, before, row.started, strict=True
            )
            if meter
        ]
        row.volumes = volumes
        row.clock = seen.clock
        if shape.derived:
            self._derive(seen, shape, row, before, [elapsed] * len(before), made)
        return True

    def _compare(self, seen: Observation, kind: _Kind, row: Row, made: list[Sample]) -> None:
        """Append samples reading by reading, and make the row anew."""
        shape = kind.shape(seen.volumes)
        known = row.readings()
        before: list[Volume | None] = []
        elapsed: list[float] = []
        started: list[float] = []
        volumes = shape.pick(seen.volumes)
        falls = {shape.names[n] for n in shape.counters(range(len(volumes)))}
        for name, meter, volume in zip(shape.names, shape.meters, volumes, strict=True):
            previous, began = self._previous(
                known.pop(name, None), seen, volume, counter=name in falls
            )
            started.append(began)
            before.append(None if previous is FIRST else previous.volume)
            elapsed.append(0.0 if previous is FIRST else previous.elapsed)
            if meter is not None:
                made.append(
                    Sample(meter, seen.resource, seen.time, volume, previous, began, self.source)
                )
        row.clock, row.names, row.volumes = seen.clock, shape.names, volumes
        row.started, row.others = tuple(started), known
        self._derive(seen, shape, row, before, elapsed, made)

    def _derive(
        self,
        seen: Observation,
        shape: _Shape,
        row: Row,
        before: Sequence[Volume | None],
        elapsed: Sequence[float],
        made: list[Sample],
    ) -> None:
        """Append the samples of derived meters whose bases all have a previous reading.

        Args:
            seen: the observation.
            shape: its shape.
            row: holds its volumes already.
            before: the volumes of the reading before, None where a series is at its first.
            elapsed: seconds since then.
            made: where the samples go.
        """
        volumes, others = row.volumes, row.others
        for meter, how, first, over, per in shape.derived:
            last = before[first]
            if last is None or volumes[first] < last:
                continue
            volume: Volume = volumes[first] - last
            if how is Derivation.DELTA:
                # It is of two readings already: no pair, and it began at the one before.
                began = seen.time - elapsed[first]
                made.append(
                    Sample(meter, seen.resource, seen.time, volume, FIRST, began, self.source)
                )
                continue
            if how is Derivation.RATE:
                volume = volume / elapsed[first] / per
            else:
                base = before[over]
                if base is None or volumes[over] <= base:
                    continue
                volume = volume / (volumes[over] - base) / per
            previous, began = self._previous(others.get(meter.name), seen, volume, counter=False)
            others[meter.name] = (seen.clock, volume, began)
            made.append(
                Sample(meter, seen.resource, seen.time, volume, previous, began, self.source)
            )

    def _previous(
        self, reading: Reading | None, seen: Observation, volume: Volume, *, counter: bool
    ) -> tuple[Any, float]:
        """Return the pair (or FIRST) and the start of a series."""
        if reading is None:
            return FIRST, seen.time
        clock, before, started = reading
        if counter and volume < before:
            return FIRST, seen.time
        if not 0.0 < seen.clock - clock <= self._max_age:
            return FIRST, started
        return Previous(seen.clock - clock, before), started


def _picker(indexes: Sequence[int]) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
    """Return a function that picks these items of a sequence, always as a tuple."""
    if len(indexes) > 1:
        return itemgetter(*indexes)
    return lambda items: tuple(items[index] for index in indexes)
