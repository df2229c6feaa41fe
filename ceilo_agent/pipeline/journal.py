# SPDX-License-Identifier: Apache-2.0
"""Keeps what stateful steps remember over a restart, however the process ends.

A step is a deterministic function of what it was told: samples and moments, in their order. So the
samples that it remembers are written down before what comes of them goes on, and after a restart it
is told the same again from its last dump on. When the calls outgrow the last dump the steps are
dumped anew.

What came out is written down in the same transaction, and kept until its publisher is done with it:
the process may end between the two.

A sample that a step was given before, by step, source, resource, meter and time, is not given to it
again. It is recognised among the last REMEMBERED at least; after a restart among those since the
last dump but one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from ceilo_agent.messaging.packing import pack, unpack
from ceilo_agent.pipeline.replay import Kept, Replay
from ceilo_agent.pipeline.safefile import SafeFile
from ceilo_agent.pipeline.statefile import Row, StateFile
from ceilo_agent.plugins import StatefulTransformer
from ceilo_agent.sample import Sample

LOG = logging.getLogger(__name__)

DUMP_AFTER: Final = 1 << 20
"""Bytes of calls that need no new dump, however small the last one was."""

REMEMBERED: Final = 100_000
"""Samples that are recognised when they come again; at most twice as many, 70 bytes each."""

KEPT_SECONDS: Final = 7 * 86400.0
"""How long the state of a step that is gone from the file waits for its return."""


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

    Nothing is made on disk before there is something to keep. What cannot be written or read is
    told and counted; the steps go on in memory, and are dumped as soon as it can be written again.

    Args:
        path: the file.
        clock: gives UTC seconds.
        monotonic: gives seconds.
    """

    def __init__(
        self,
        path: Path,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = path
        self.counters = Counters()
        self._clock = clock
        self._safe = SafeFile(path, clock, monotonic)
        self._closed = False
        self._steps: dict[str, Kept] = {}
        self._told: dict[str, float | None] = {}
        self._rows: list[Row] = []
        self._noted = 0
        self._last = 0
        self._dumped_upto = 0
        self._dumped_bytes = 0
        self._bytes = 0
        self._recent: set[int] = set()
        self._older: set[int] = set()
        self._watched: list[tuple[int, Callable[[], bool]]] = []

    @property
    def damaged(self) -> int:
        """Files and parts of them that could not be read and were set aside."""
        return self._safe.damaged

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
        if self._safe.is_open:
            self._write((), full=True)
        fresh = {identity: kept for identity, kept in steps.items() if identity not in self._steps}
        self._steps = dict(steps)
        self._told = {identity: self._told.get(identity) for identity in steps}
        if self._safe.is_open or self._safe.may_exist():
            self._safe.attempt(lambda file: self._restore(file, fresh, outlets, renamed or {}))

    def _restore(
        self,
        file: StateFile,
        fresh: Mapping[str, Kept],
        outlets: Collection[str],
        renamed: Mapping[str, str],
    ) -> None:
        # All is read before any step is told: a damaged file tells nothing.
        known = {identity: file.state(identity) for identity in fresh}
        rows = list(file.rows(fresh))
        replay = Replay(fresh, known, self._safe)
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
            LOG.info(told, self.path, replay.samples)
        now = self._clock()
        with file.transaction():
            for identity in useless:
                file.forget_dump(identity)
            file.tell(self._moments(), now)
            for before, after in renamed.items():
                file.readdress(before, after)
            for name in file.expire(self._steps, outlets, now - KEPT_SECONDS):
                LOG.info("%s: the state of %s, not in use for 7 days, is deleted", self.path, name)

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
        if kept and (self._safe.behind or self._closed):
            self.counters.unwritten += len(kept)
        elif kept:
            data, left = _packed(kept)
            self.counters.unwritten += left
            self._noted += len(kept) - left
            self._rows.append(Row(0, identity, self._told.get(identity), data))
        return fresh

    def ticked(self, identity: str, now: float) -> None:
        """Note the moment that a step was told."""
        self._told[identity] = now

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

    # -- what is written -------------------------------------------------------------------------

    def commit(self, outputs: Outputs) -> list[int] | None:
        """Write down what was noted, and what came of it, in one transaction.

        Returns:
            A number for each of the outputs, for `watch`; None when nothing was written.
        """
        settled = any(done() for _, done in self._watched)
        if self._closed or not (self._rows or outputs or settled or self._safe.behind):
            return None
        return self._write(outputs, full=False)

    def watch(self, number: int, done: Callable[[], bool]) -> None:
        """Keep an output until its publisher is done with it."""
        self._watched.append((number, done))

    def waiting(self) -> list[Waiting]:
        """Return what came out before a restart and no publisher confirmed, in order."""
        found: list[Waiting] = []
        if self._safe.is_open:
            self._safe.attempt(lambda file: found.extend(self._outputs(file)))
        return found

    def _outputs(self, file: StateFile) -> list[Waiting]:
        found = []
        with file.transaction():
            for number, outlet, data in file.outputs():
                try:
                    found.append(Waiting(number, outlet, unpack(data or b"")))
                except ValueError as error:
                    place = self._safe.keep_aside(data or b"")
                    told = "%s: an output for %s is lost: %s (%s)"
                    LOG.warning(told, self.path, outlet, error, place)
                    file.take_out([number])
        return found

    def close(self) -> None:
        """Dump all steps and let go of the file."""
        if self._safe.is_open:
            self._write((), full=True)
        self._closed = True
        self._safe.close()

    def _write(self, outputs: Outputs, *, full: bool) -> list[int] | None:
        rows, self._rows = self._rows, []
        noted, self._noted = self._noted, 0
        self._bytes += sum(len(row.samples or b"") for row in rows)
        numbers: list[int] = []

        def work(file: StateFile) -> None:
            numbers[:] = self._transaction(file, rows, outputs, full=full)

        # Twice: a damaged file is set aside, and all goes into a new one at once.
        for _ in range(2):
            if (full or self._safe.may_try) and self._safe.attempt(work):
                self.counters.written += noted
                return numbers
        self.counters.unwritten += noted
        return None

    def _transaction(
        self, file: StateFile, rows: Sequence[Row], outputs: Outputs, *, full: bool
    ) -> list[int]:
        """Write it all, and dump the steps where that is due; return the outputs' numbers."""
        outgrown = self._bytes > max(DUMP_AFTER, 2 * self._dumped_bytes)
        due = full or outgrown or self._safe.behind
        dumps = {i: kept.transformer.dump() for i, kept in self._steps.items()} if due else {}
        now = self._clock()
        done = {number for number, is_done in self._watched if is_done()}
        with file.transaction():
            # Numbers go on over a file that was set aside: what is watched stays what it was.
            first = max(self._last, file.last()) + 1
            for number, row in enumerate(rows, first):
                file.append(row._replace(seq=number))
            upto = first + len(rows) - 1
            file.tell(self._moments(), now)
            for identity, dump in dumps.items():
                file.keep(identity, upto, self._told[identity], dump)
            if due:
                file.forget_rows(self._dumped_upto)
            file.take_out(done)
            numbers = list(range(upto + 1, upto + 1 + len(outputs)))
            for number, (name, made) in zip(numbers, outputs, strict=True):
                file.put_out(number, name, now, _packed(made)[0])
        self._last = upto + len(outputs)
        self._watched = [watched for watched in self._watched if watched[0] not in done]
        if due:
            self.counters.dumps += 1
            self._dumped_upto, self._bytes = upto, 0
            self._dumped_bytes = sum(map(len, dumps.values()))
            self._safe.caught_up()
        return numbers


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
