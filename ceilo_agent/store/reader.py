# SPDX-License-Identifier: Apache-2.0
"""Questions to a store, asked from any process while another writes.

A reader creates and changes no file. It holds no snapshot between two questions, nor while its
caller is busy with an answer, so it never keeps the writer from recycling its log.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from ceilo_agent.errors import Unavailable
from ceilo_agent.sample import Meter, Resource, Sample, SampleType
from ceilo_agent.store import schema
from ceilo_agent.store.connection import NoIndex, read_only, sidecar
from ceilo_agent.store.encoding import decode_metadata, from_cell, to_seconds

_CHOSEN: Final = (
    "FROM series JOIN meter ON meter.id = series.meter JOIN resource ON "
    "resource.id = series.resource WHERE meter.name GLOB :meter AND "
    "(:resource IS NULL OR resource.name = :resource)"
)
_LAST_MICROS: Final = 2**63 - 1


class Series(msgspec.Struct, frozen=True, eq=False):
    """One meter of one resource.

    Attributes:
        meter: what is measured.
        resource: of what, as the newest sample said.
        last: the time of the newest sample, UTC seconds.
    """

    meter: Meter
    resource: Resource
    last: float


class Statistics(msgspec.Struct, frozen=True):
    """A store in figures.

    Attributes:
        series: how many there are.
        samples: how many there are.
        first: the time of the oldest sample, UTC seconds; None when there is none.
        last: that of the newest.
        bytes: what the file and its write-ahead log take.
    """

    series: int
    samples: int
    first: float | None
    last: float | None
    bytes: int


class Reader:
    """Answers from the store at a path. Meters are given by name or glob (``disk.device.*``).

    Every method raises `Unavailable` if there is no store, or none that can be read; the message
    names the path and what to do.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def series(self, meter: str | None = None, resource: str | None = None) -> list[Series]:
        """List the series that have samples, by the meter's name, then the resource's id."""
        with self._snapshot() as db:
            (oldest,) = db.execute("SELECT min(time) FROM sample").fetchone()
            chosen = _choose(db, meter, resource)
            last = _last(db)
        found = [
            Series(*chosen[series], to_seconds(micros))
            for series, micros in last.items()
            if series in chosen and oldest is not None and micros >= oldest
        ]
        return sorted(found, key=lambda one: (one.meter.name, one.resource.id))

    def samples(
        self,
        meter: str | None = None,
        resource: str | None = None,
        since: float | None = None,
        until: float | None = None,
    ) -> Iterator[Sample]:
        """Yield samples with ``since <= time < until``, series by series, each in order of time.

        What the reading before was is not stored: `previous` is UNTRACKED.
        """
        with self._connection() as db:
            # Copied and sorted at once, into a temporary table: the snapshot ends here, however
            # slowly the samples are taken.
            db.execute("CREATE TEMP TABLE found(series, time, volume)")
            db.execute("BEGIN")
            chosen = _choose(db, meter, resource)
            db.execute(
                "INSERT INTO found SELECT series, time, volume FROM sample "  # noqa: S608 - ours
                "WHERE time >= :since AND time < :until AND series IN "
                f"(SELECT series.id {_CHOSEN}) ORDER BY series, time",
                {"since": _micros(since, 0), "until": _micros(until, _LAST_MICROS)}
                | _words(meter, resource),
            )
            db.execute("COMMIT")
            for number, micros, cell in db.execute(
                "SELECT series, time, volume FROM found ORDER BY rowid"
            ):
                yield _sample(chosen[number], micros, cell)

    def latest(
        self, since: float, meter: str | None = None, resource: str | None = None
    ) -> list[Sample]:
        """Return the newest sample of every series that has one at `since` or later."""
        with self._snapshot() as db:
            chosen = _choose(db, meter, resource)
            found: dict[int, Sample] = {}
            # From the newest backwards: one cycle usually has them all.
            for number, micros, cell in db.execute(
                "SELECT series, time, volume FROM sample WHERE time >= ? ORDER BY time DESC",
                (_micros(since, 0),),
            ):
                if number in chosen and number not in found:
                    found[number] = _sample(chosen[number], micros, cell)
                if len(found) == len(chosen):
                    break
        return sorted(found.values(), key=lambda one: (one.meter.name, one.resource.id))

    def statistics(self) -> Statistics:
        """Return the store's figures; counting takes about a second for every GB."""
        with self._snapshot() as db:
            (series,) = db.execute("SELECT count(*) FROM series").fetchone()
            (samples,) = db.execute("SELECT count(*) FROM sample").fetchone()
            (first,) = db.execute("SELECT min(time) FROM sample").fetchone()
            (last,) = db.execute("SELECT max(time) FROM sample").fetchone()
        size = 0
        for suffix in ("", "-wal"):
            with contextlib.suppress(OSError):
                size += sidecar(self.path, suffix).stat().st_size
        return Statistics(
            series,
            samples,
            None if first is None else to_seconds(first),
            None if last is None else to_seconds(last),
            size,
        )

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            if self.path.is_dir():
                raise Unavailable(f"{self.path} is a directory, not a metric store")
            with contextlib.closing(read_only(self.path)) as db:
                if not schema.examine(db):
                    raise Unavailable(f"the metric store {self.path} is still empty")
                yield db
        except FileNotFoundError:
            raise Unavailable(
                f"there is no metric store at {self.path}: start `ceilo-agent up`, which fills "
                f"one, or name another (--store PATH, [store] path)"
            ) from None
        except OSError as error:
            raise Unavailable(
                f"the metric store {self.path} cannot be read: {error.strerror}"
            ) from error
        except NoIndex as error:
            raise Unavailable(
                f"the metric store {self.path} was left by a writer that died, and {error}: start "
                f"the agent once, which mends it"
            ) from None
        except (schema.Foreign, schema.Damaged) as error:
            raise Unavailable(f"{self.path} is no metric store: {error}") from None
        except sqlite3.Error as error:
            raise Unavailable(f"the metric store {self.path} cannot be read: {error}") from error

    @contextlib.contextmanager
    def _snapshot(self) -> Iterator[sqlite3.Connection]:
        with self._connection() as db:
            db.execute("BEGIN")
            yield db


def _words(meter: str | None, resource: str | None) -> dict[str, Any]:
    return {"meter": "*" if meter is None else meter, "resource": resource}


def _micros(seconds: float | None, default: int) -> int:
    """Return a bound in microseconds, within what SQLite can compare."""
    if seconds is None:
        return default
    return round(min(max(seconds * 1e6, -(2.0**62)), 2.0**62))


def _choose(
    db: sqlite3.Connection, meter: str | None, resource: str | None
) -> dict[int, tuple[Meter, Resource]]:
    """Return the meter and the resource of the series asked for; both are shared objects."""
    meters: dict[tuple[str, str, str], Meter] = {}
    resources: dict[int, Resource] = {}
    found = {}
    for number, name, unit, kind, row, id_, project, owner, type_, metadata in db.execute(
        "SELECT series.id, meter.name, meter.unit, meter.type, resource.id, resource.name, "
        f"project, owner, resource.type, metadata {_CHOSEN}",
        _words(meter, resource),
    ):
        key = (name, unit, kind)
        if key not in meters:
            meters[key] = Meter(name, unit, SampleType(kind))
        if row not in resources:
            resources[row] = Resource(id_, project, owner, type_, decode_metadata(metadata))
        found[number] = (meters[key], resources[row])
    return found


def _last(db: sqlite3.Connection) -> dict[int, int]:
    """Return the time of the newest sample of every series, microseconds."""
    found: dict[int, int] = dict(db.execute("SELECT id, seen FROM series"))
    found.update(
        db.execute(
            "SELECT series, max(time) FROM sample WHERE time > "
            "(SELECT value FROM state WHERE name = 'horizon') GROUP BY series"
        )
    )
    return found


def _sample(which: tuple[Meter, Resource], micros: int, cell: int | float | str) -> Sample:
    meter, resource = which
    return Sample(meter, resource, to_seconds(micros), from_cell(cell))
