# SPDX-License-Identifier: Apache-2.0
"""Keeps what stateful steps remember over a restart, however the process ends.

A step is a deterministic function of what it was told: samples and moments, in their order. So the
samples that it remembers are written down before what comes of them goes on, and after a restart it
is told the same again from its last dump on. When the calls outgrow the last dump the steps are
dumped anew.

It is a part of the durable log's transactions: what steps were given is written with what waits for
durable publishers, or neither is. What came out for publishers whose queue is in memory is written
there too, and kept until its publisher is done with it.

A sample that a step was given before, by step, source, resource, meter and time, is not given to it
again. It is recognised among the last REMEMBERED at least; after a restart among those since the
last dump but one.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from ceilo_agent.delivery.log import Log
from ceilo_agent.messaging.packing import pack, unpack
from ceilo_agent.pipeline.replay import Kept, Replay
from ceilo_agent.pipeline.statetables import Row, Tables
from ceilo_agent.plugins import StatefulTransformer
from ceilo_agent.sample import Sample

LOG = logging.getLogger(__name__)

DUMP_AFTER: Final = 1 << 20
"""Bytes of calls that need no new dump, however small the last one was."""

REMEMBERED: Final = 100_000
"""Samples that are recognised when they come again; at most twice as many, 70 bytes each."""

KEPT_SECONDS: Final = 7 * 86400.0
"""How long the state of a step that is gone from the file waits for its return."""

RETRY_SECONDS: Final = 5.0
"""What could not be written is tried again after this long."""


class Counters(msgspec.Struct):
    """What a journal did since it was made, in samples where nothing else is said.

    Attributes:
        written: given to steps and written down.
        unwritten: given to steps while they could not be written down.
        repeated: not given to a step again.
        replayed: given to steps again after a restart.
        dumps: times that all steps were dumped.
    """

    written: int = 0
    unwritten: int = 0
    repeated: int = 0
    replayed: int = 0
    dumps: int = 0


class Waiting(NamedTuple):
    """What came out before a restart, and which publisher it is for."""

    number: int
    outlet: str
    samples: Sequence[Sample]


Outputs = Sequence[tuple[str, Sequence[Sample]]]
"""Names of publishers, and what each is to be offered."""


class Journal:
    """The journal of one pipeline; its caller sees to it that one thread is in it at a time.

    It implements `delivery.log.Part`: what was noted is written by the next `Log.offer`. Nothing is
    made on disk before there is something to keep. What cannot be written or read is told and
    counted; the steps go on in memory, and are dumped as soon as it can be written again.

    Args:
        log: opened; whoever made it closes it.
        clock: gives UTC seconds.
        monotonic: gives seconds.

    Attributes:
        behind: whether the file lacks something that happened: it needs the whole state.
    """

    def __init__(
        self,
        log: Log,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.behind = False
        self.counters = Counters()
        self._log = log
        self._clock = clock
        self._monotonic = monotonic
        self._file = log.file
        self._made = False
        self._full = False
        self._changed = False
        self._closed = False
        self._retry_at = 0.0
        self._steps: dict[str, Kept] = {}
        self._told: dict[str, float | None] = {}
        self._rows: list[Row] = []
        self._noted = 0
        self._outputs: list[tuple[int, str, bytes]] = []
        self._last = 0
        self._dumped_upto = 0
        self._dumped_bytes = 0
        self._bytes = 0
        self._recent: set[int] = set()
        self._older: set[int] = set()
        self._watched: list[tuple[int, Callable[[], bool]]] = []
        self._done: set[int] = set()
        self._dumps: Mapping[str, bytes] | None = None

    # -- which steps -----------------------------------------------------------------------------

    def adopt(
        self,
        steps: Mapping[str, Kept],
        outlets: Collection[str],
        renamed: Mapping[str, str] | None = None,
    ) -> None:
        """Keep the state of these steps from now on, and of no others.

        Those that it had go on. Each of the others is given what it knew when it was last here.

        Args:
            steps: by identity.
            outlets: names of the publishers that there are.
            renamed: names that some of them had, and those that they have now.
        """
        if self._made:
            self._write_all()
        fresh = {identity: kept for identity, kept in steps.items() if identity not in self._steps}
        self._steps = dict(steps)
        self._told = {identity: self._told.get(identity) for identity in steps}
        if self._log.exists and not self._log.read(
            lambda db, _: self._restore(Tables(db), fresh, outlets, renamed or {})
        ):
            self._fall_behind()

    def _write_all(self) -> None:
        """Write down what was noted, and dump all steps."""
        self._full, self._retry_at = True, 0.0
        self._log.offer((), self)
        self._full = False

    def _restore(
        self,
        file: Tables,
        fresh: Mapping[str, Kept],
        outlets: Collection[str],
        renamed: Mapping[str, str],
    ) -> None:
        if not file.there():
            return
        self._made = True
        # All is read before any step is told: a damaged file tells nothing.
        known = {identity: file.state(identity) for identity in fresh}
        rows = list(file.rows(fresh))
        self._last = max(self._last, file.last())
        replay = Replay(fresh, known, self._log)
        useless = replay.load()
        replay.run(rows, self._remember)
        self._told.update(replay.told)
        self._bytes += replay.size
        self.counters.replayed += replay.samples
        found = [state for state in known.values() if state is not None]
        self._dumped_bytes += sum(len(state.dump or b"") for state in found)
        self._dumped_upto = max([self._dumped_upto, *(state.upto for state in found)])
        if replay.samples:
            told = "%s: %d samples since the last dump given to steps again"
            LOG.info(told, self._log.directory, replay.samples)
        now = self._clock()
        for identity in useless:
            file.forget_dump(identity)
        file.tell(self._moments(), now)
        for before, after in renamed.items():
            file.readdress(before, after)
        for name in file.expire(self._steps, outlets, now - KEPT_SECONDS):
            told = "%s: the state of %s, not in use for 7 days, is deleted"
            LOG.info(told, self._log.directory, name)

    def _moments(self) -> list[tuple[str, str, float | None]]:
        """Return each step, its name and the last moment that it was told."""
        return [(i, kept.name, self._told[i]) for i, kept in self._steps.items()]

    # -- what they are told ----------------------------------------------------------------------

    def record(
        self, identity: str, step: StatefulTransformer, samples: Sequence[Sample]
    ) -> Sequence[Sample]:
        """Note what a step is about to be given; return it without what it was given before."""
        key = step.key
        keyed = [key(sample) is not None for sample in samples]
        if not any(keyed):
            return samples
        fresh: list[Sample] = []
        kept: list[Sample] = []
        for sample, has_key in zip(samples, keyed, strict=True):
            if has_key:
                if not self._remember(identity, sample):
                    self.counters.repeated += 1
                    continue
                kept.append(sample)
            fresh.append(sample)
        if kept and (self.behind or self._closed):
            self.counters.unwritten += len(kept)
        elif kept:
            data, left = _packed(kept)
            self.counters.unwritten += left
            self._noted += len(kept) - left
            self._last += 1
            self._rows.append(Row(self._last, identity, self._told.get(identity), data))
        return fresh

    def ticked(self, identity: str, now: float) -> None:
        """Note the moment that a step was told."""
        self._told[identity] = now

    def changed(self) -> None:
        """Note that steps were told what is not written down: the next write dumps them."""
        self._changed = self._made or bool(self._rows)

    @property
    def noted(self) -> int:
        """How many samples were noted since the last commit."""
        return self._noted

    def _remember(self, identity: str, sample: Sample) -> bool:
        """Remember that a step was given a sample; False if that is known."""
        key = hash((identity, sample.source, sample.resource.id, sample.meter.name, sample.time))
        if key in self._recent or key in self._older:
            return False
        if len(self._recent) >= REMEMBERED:
            self._older, self._recent = self._recent, set()
        self._recent.add(key)
        return True

    # -- what came out ---------------------------------------------------------------------------

    def put(self, outputs: Outputs) -> list[int]:
        """Note what came of it for publishers whose queue is in memory.

        It is written by the next offer to the log, with what was noted.

        Returns:
            A number for each of the outputs, for `watch`.
        """
        numbers = []
        for name, made in outputs:
            self._last += 1
            numbers.append(self._last)
            if not self._closed:
                self._outputs.append((self._last, name, _packed(made)[0]))
        return numbers

    def watch(self, number: int, done: Callable[[], bool]) -> None:
        """Keep an output until its publisher is done with it."""
        self._watched.append((number, done))

    def waiting(self) -> list[Waiting]:
        """Return what came out before a restart and no publisher confirmed, in order."""
        found: list[Waiting] = []
        if self._made:
            self._log.read(lambda db, _: found.extend(self._waiting(Tables(db))))
        return found

    def _waiting(self, file: Tables) -> list[Waiting]:
        found = []
        for number, outlet, data in file.outputs():
            try:
                found.append(Waiting(number, outlet, unpack(data or b"")))
            except ValueError as error:
                place = self._log.keep_aside(data or b"")
                told = "%s: an output for %s is lost: %s (%s)"
                LOG.warning(told, self._log.directory, outlet, error, place)
                file.take_out([number])
        return found

    # -- what is written -------------------------------------------------------------------------

    @property
    def rides(self) -> bool:
        """Whether it writes with what is offered: the moment that it came out of a window."""
        return self._made and self._may_write

    @property
    def _may_write(self) -> bool:
        return not self._closed and not (self.behind and self._monotonic() < self._retry_at)

    @property
    def pending(self) -> bool:
        """Whether there is something to write."""
        if not self._may_write:
            return False
        if self._rows or self._outputs or self._full or self._changed or self.behind:
            return True
        renewed = self._made and self._log.file != self._file
        return renewed or any(done() for _, done in self._watched)

    def write(self, db: sqlite3.Connection, file: int) -> None:
        """Write it all, and dump the steps where that is due."""
        tables = Tables(db)
        renewed = file != self._file
        if renewed or not self._made:
            tables.make()
        outgrown = self._bytes + self._size() > max(DUMP_AFTER, 2 * self._dumped_bytes)
        due = self._full or self._changed or outgrown or self.behind or renewed
        now = self._clock()
        for row in self._rows:
            tables.append(row)
        tables.tell(self._moments(), now)
        self._dumps = None
        if due:
            self._dumps = {i: kept.transformer.dump() for i, kept in self._steps.items()}
            for identity, dump in self._dumps.items():
                tables.keep(identity, self._last, self._told[identity], dump)
            tables.forget_rows(self._dumped_upto)
        self._done = {number for number, is_done in self._watched if is_done()}
        for number, name, data in self._outputs:
            tables.put_out(number, name, now, data)
        tables.take_out(self._done)
        self._file = file

    def written(self) -> None:
        """Go on: it is committed."""
        self._made = True
        self.counters.written += self._noted
        self._bytes += self._size()
        self._watched = [watched for watched in self._watched if watched[0] not in self._done]
        if self._dumps is not None:
            self._changed = False
            self.counters.dumps += 1
            self._dumped_upto, self._bytes = self._last, 0
            self._dumped_bytes = sum(map(len, self._dumps.values()))
            if self.behind:
                told = "%s: the state of the pipeline's steps is kept again"
                LOG.info(told, self._log.directory)
            self.behind = False
        self._forget()

    def failed(self) -> None:
        """Go on: nothing of it is written."""
        self.counters.unwritten += self._noted
        self._fall_behind()
        self._forget()

    def close(self) -> None:
        """Dump all steps; the log stays open."""
        if self._made:
            self._write_all()
        self._closed = True

    def _fall_behind(self) -> None:
        if not self.behind:
            told = "%s: the state of the pipeline's steps is not kept over a restart for now"
            LOG.warning(told, self._log.directory)
        self.behind, self._retry_at = True, self._monotonic() + RETRY_SECONDS

    def _size(self) -> int:
        return sum(len(row.samples or b"") for row in self._rows)

    def _forget(self) -> None:
        """Forget what was noted: it is written, or counted."""
        self._rows.clear()
        self._outputs.clear()
        self._noted = 0
        self._dumps = None


def _packed(samples: Sequence[Sample]) -> tuple[bytes, int]:
    """Return samples as bytes, and how many are left out since no bytes hold them."""
    try:
        return pack(samples), 0
    except (OverflowError, ValueError, TypeError):
        # A whole number of more than 64 bits, or text that is none.
        kept = [sample for sample in samples if _can_be_packed(sample)]
        return pack(kept), len(samples) - len(kept)


def _can_be_packed(sample: Sample) -> bool:
    try:
        pack([sample])
    except (OverflowError, ValueError, TypeError):
        return False
    return True
