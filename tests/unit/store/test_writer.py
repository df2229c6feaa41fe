# SPDX-License-Identifier: Apache-2.0
"""What goes in comes out."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ceilo_agent.sample import Meter, Resource, Sample, SampleType
from ceilo_agent.store.reader import Reader
from ceilo_agent.store.writer import Writer
from tests.unit.store.samples import CPU, MEMORY, START, cycle, guest, told

Opened = Callable[..., Writer]


def test_samples_come_back_series_by_series_in_order_of_time(
    opened: Opened, reader: Reader
) -> None:
    writer = opened()
    for number in range(5):
        writer.append(cycle(number))
    found = list(reader.samples())
    assert told(found) == sorted(
        told([s for number in range(5) for s in cycle(number)]), key=lambda row: row[:3]
    )
    assert found[0].meter == CPU
    assert found[0].resource is found[1].resource
    assert found[0].resource.metadata == {"display_name": "web-0"}
    assert (found[0].resource.project_id, found[0].resource.user_id) == ("project", None)
    assert writer.counters.stored == 30


@pytest.mark.parametrize(
    "volume",
    [0, 1, -1, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, -(2**63), -(2**63) - 1, 2**200,
     0.0, 0.1, 1.0, -1.5, 1e300, 5e-324, float(2**63), float(2**70)],
)  # fmt: skip
def test_volumes_survive_exactly(opened: Opened, reader: Reader, volume: float) -> None:
    opened().append([Sample(CPU, guest(), START, volume)])
    (found,) = reader.samples()
    assert found.volume == volume
    assert type(found.volume) is type(volume)


@pytest.mark.parametrize("volume", [math.nan, math.inf, -math.inf, None, "7", 2**2000])
def test_what_is_no_finite_number_is_dropped_and_counted(
    opened: Opened, reader: Reader, volume: Any
) -> None:
    writer = opened()
    samples = cycle(0)
    writer.append([*samples[:3], Sample(CPU, guest(9), START, volume), *samples[3:]])
    assert sorted(told(list(reader.samples()))) == sorted(told(samples))
    assert (writer.counters.stored, writer.counters.dropped) == (6, 1)


@pytest.mark.parametrize("time", [math.nan, math.inf, -math.inf, 1e12, -1e12])
def test_what_has_no_date_is_dropped_and_counted(
    opened: Opened, reader: Reader, time: float
) -> None:
    writer = opened()
    writer.append([Sample(CPU, guest(), time, 1), Sample(CPU, guest(), START, 2)])
    assert [s.volume for s in reader.samples()] == [2]
    assert writer.counters.dropped == 1


def test_the_last_of_two_samples_of_one_series_and_time_stays(
    opened: Opened, reader: Reader
) -> None:
    writer = opened()
    resource = guest()
    # Within one batch, also one that is out of order, and over two batches.
    writer.append([Sample(CPU, resource, START, 1), Sample(CPU, resource, START, 2)])
    assert [s.volume for s in reader.samples()] == [2]
    writer.append(
        [
            Sample(CPU, resource, START + 60, 2**64 - 1),
            Sample(CPU, resource, START, 3),
            Sample(CPU, resource, START + 60, 0.5),
        ]
    )
    assert [s.volume for s in reader.samples()] == [3, 0.5]


def test_late_samples_find_their_place(opened: Opened, reader: Reader) -> None:
    writer = opened()
    for number in (5, 3, 4, 0):
        writer.append(cycle(number, guests=1))
    writer.append([*cycle(2, guests=1), *cycle(1, guests=1)])
    assert [s.volume for s in reader.samples("cpu")] == [0, 1000, 2000, 3000, 4000, 5000]
    assert [one.last for one in reader.series()] == [START + 300] * 2


def test_the_newest_sample_says_what_the_resource_is(opened: Opened, reader: Reader) -> None:
    writer = opened()

    def push(minute: int, **metadata: object) -> None:
        writer.append([Sample(CPU, guest(0, metadata), START + 60 * minute, minute)])

    push(5, state="running")
    push(3, state="building")
    (one,) = reader.series()
    assert one.resource.metadata == {"state": "running"}
    push(6, state="paused", vcpus=2)
    (one,) = reader.series()
    assert one.resource.metadata == {"state": "paused", "vcpus": 2}
    writer.append([Sample(CPU, guest(0, {}, project=None), START + 420, 7)])
    (one,) = reader.series()
    assert one.resource.project_id is None


def test_a_late_sample_after_a_restart_does_not_bring_old_metadata_back(
    opened: Opened, reader: Reader
) -> None:
    writer = opened()
    writer.append([Sample(CPU, guest(0, {"state": "new"}), START, 0)])
    writer.append([Sample(CPU, guest(0, {"state": "new"}), START + 600, 1)])
    writer.close()
    opened().append([Sample(CPU, guest(0, {"state": "old"}), START + 300, 2)])
    assert reader.series()[0].resource.metadata == {"state": "new"}


def test_metadata_is_written_only_when_it_changed(opened: Opened, path: Path) -> None:
    writer = opened()
    writer.append(cycle(0))
    writer.append(cycle(1))
    writer.close()
    writer = opened()
    db = writer._db
    assert db is not None
    statements: list[str] = []
    db.set_trace_callback(statements.append)
    for number in (2, 3):
        writer.append(cycle(number))
    assert not [one for one in statements if one.startswith(("UPDATE resource", "INSERT OR IGN"))]
    changed = guest(1, {"display_name": "renamed"})
    writer.append([Sample(CPU, changed, START + 600, 1)])
    writer.append([Sample(CPU, changed, START + 660, 1)])
    assert len([one for one in statements if one.startswith("UPDATE resource")]) == 1


def test_series_survive_a_restart(opened: Opened, reader: Reader) -> None:
    writer = opened()
    writer.append(cycle(0))
    writer.close()
    opened().append(cycle(1))
    assert reader.statistics().series == 6
    assert reader.statistics().samples == 12


def test_odd_names_do_not_break_a_batch(opened: Opened, reader: Reader) -> None:
    writer = opened()
    resources = [
        Resource("disk-\udc80\udcff", "p\udc80", None, "host_disk", {"mount": "/m\udc80"}),
        Resource("gäst-日本-\U0001f680", "p", "u", "t", {"näme": "日本", "f": {"ram": 2**64}}),
        Resource("empty", None, None, "instance", {}),
        Resource("odd", None, None, "instance", {"a": {1, 2}, "b": (1, 2), "c": math.nan}),
    ]
    meter = Meter("température", "°C", SampleType.GAUGE)
    for number in range(2):
        writer.append([Sample(meter, one, START + number, number) for one in resources])
    found = {one.resource.id: one.resource for one in reader.series("température")}
    assert set(found) == {"disk-??", "gäst-日本-\U0001f680", "empty", "odd"}
    assert found["gäst-日本-\U0001f680"].metadata == {"näme": "日本", "f": {"ram": 2**64}}
    assert found["empty"].metadata == {}
    assert found["odd"].metadata["b"] == [1, 2]
    assert reader.statistics().samples == 8
    writer.close()
    writer = opened()
    writer.append([Sample(meter, one, START + 2, 2) for one in resources])
    assert reader.statistics().series == 4


def test_a_resource_all_of_whose_samples_were_dropped_may_come_again(
    opened: Opened, reader: Reader
) -> None:
    writer = opened()
    writer.append([Sample(CPU, guest(7), START, math.nan)])
    writer.close()
    opened().append([Sample(CPU, guest(7), START, 1)])
    assert [s.resource.id for s in reader.samples()] == ["guest-7"]


def test_a_unit_that_changed_is_a_meter_of_its_own(opened: Opened, reader: Reader) -> None:
    writer = opened()
    other = Meter("memory.usage", "MiB", SampleType.GAUGE)
    writer.append([Sample(MEMORY, guest(), START, 1), Sample(other, guest(), START, 2)])
    assert {(s.meter.unit, s.volume) for s in reader.samples("memory.usage")} == {
        ("MB", 1),
        ("MiB", 2),
    }


def test_the_file_says_what_it_is_and_needs_no_others_once_closed(
    opened: Opened, path: Path
) -> None:
    writer = opened()
    writer.append(cycle(0))
    # Already while it is written, for file(1) and for us after a crash.
    header = path.read_bytes()[:100]
    assert header[60:64] == (1).to_bytes(4, "big")
    assert header[68:72] == b"ceAg"
    writer.close()
    assert sorted(p.name for p in path.parent.iterdir()) == ["store.db", "store.db.lock"]
    assert path.stat().st_mode & 0o777 == 0o640
    # Not in WAL mode any more: whoever opens it need not make a log beside it.
    assert path.read_bytes()[18:20] == b"\1\1"
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_an_empty_batch_is_nothing(opened: Opened, reader: Reader) -> None:
    opened().append([])
    assert reader.statistics().samples == 0


def test_a_removed_file_is_begun_anew(
    opened: Opened, path: Path, reader: Reader, caplog: pytest.LogCaptureFixture
) -> None:
    writer = opened()
    writer.append(cycle(0))
    for place in path.parent.iterdir():
        place.unlink()
    writer.append(cycle(1))
    assert {s.volume for s in reader.samples()} == {1000, 1001, 1002}
    assert "removed or replaced" in caplog.text
