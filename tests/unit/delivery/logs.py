# SPDX-License-Identifier: Apache-2.0
"""Logs for tests: samples that are numbers, processes that are killed, disks that are full."""

import contextlib
import random
import shutil
import sqlite3

from ceilo_agent.delivery.log import Limits, Log, Offer
from ceilo_agent.delivery.schema import FILE
from ceilo_agent.sample import FIRST, Meter, Resource, Sample, SampleType

METER = Meter("m", "B", SampleType.GAUGE)
RESOURCE = Resource("r", "p", None, "host", {"name": "guest"})


class Clock:
    """Stands still until it is moved."""

    def __init__(self, now=1_000_000.0):
        self.now = now

    def __call__(self):
        return self.now


def samples(numbers):
    """Return a sample for each number."""
    return [Sample(METER, RESOURCE, float(n), n, FIRST, None, "s") for n in numbers]


def numbers(found):
    return [sample.volume for sample in found]


UNBOUNDED = Limits()


class Process:
    """A process with a log."""

    def __init__(self, directory, names=("a",), clock=None, limits=UNBOUNDED, workers=1, **options):
        self.directory = directory
        self.path = directory / FILE
        self.clock = clock or Clock()
        self.log = Log(directory, limits, clock=self.clock, monotonic=self.clock, **options)
        self.log.open(workers)
        self.log.enroll(names)

    def queue(self, name="a"):
        return self.log.queue(name)

    def offer(self, found, *names):
        self.log.offer([Offer(names or ("a",), samples(found))])

    def deliver(self, name="a", most=1000, refused=()):
        """Take samples, and be done with them; return which were delivered."""
        queue = self.queue(name)
        taken = queue.take(most)
        if taken is None:
            return []
        bad = [sample for sample in taken.samples if sample.volume in refused]
        queue.done(taken, len(taken.samples) - len(bad), [(sample, "bad") for sample in bad])
        return [n for n in numbers(taken.samples) if n not in refused]

    def drain(self, name="a", most=1000):
        found = []
        while some := self.deliver(name, most):
            found += some
        return found

    def counted(self, name="a"):
        """Return offered, delivered, waiting, set aside and dropped; they add up."""
        counters = self.log.counters[name]
        assert counters.waiting >= 0
        return (
            counters.offered, counters.delivered, counters.waiting, counters.set_aside,
            counters.dropped,
        )  # fmt: skip

    def killed(self, tmp_path, **options):
        """Return the process that follows after this one was killed: only its files are left."""
        place = tmp_path / f"{random.random()}" / self.directory.name
        shutil.copytree(self.directory, place)
        self.abandon()
        return Process(place, clock=self.clock, **options)

    def abandon(self):
        """Let go of every file, without a word."""
        self.log._access.end()

    def stopped(self, **options):
        """Return the process that follows after this one ended as it should."""
        self.log.close()
        return Process(self.directory, clock=self.clock, **options)

    def mark(self):
        """Have all that was set aside replayed, as another process does."""
        with contextlib.closing(sqlite3.connect(self.path)) as db, db:
            db.execute("UPDATE aside SET replay = 1")

    def rows(self, table="log"):
        with contextlib.closing(sqlite3.connect(self.path)) as db:
            return db.execute(f"SELECT * FROM {table}").fetchall()


def disk_full():
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    return error


class Failing:
    """A connection one statement of which finds the disk full."""

    def __init__(self, db, disk):
        self._db = db
        self._disk = disk

    def execute(self, *words):
        self._disk.count()
        return self._db.execute(*words)

    def executemany(self, *words):
        self._disk.count()
        return self._db.executemany(*words)


class Disk:
    """The disk of a process.

    Attributes:
        full: nothing is committed.
        left: statements after which one fails; None: none does.
    """

    def __init__(self, process):
        self.full = False
        self.left = None
        self._file = process.log._access.file
        self._transaction = self._file.transaction
        self._file.transaction = self.transaction

    def count(self):
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.left = None
                raise disk_full()

    @contextlib.contextmanager
    def transaction(self, **options):
        with self._transaction(**options) as db:
            yield Failing(db, self)
            if self.full:
                raise disk_full()
