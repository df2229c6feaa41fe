# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from ceilo_agent.publishers.prometheus.naming import HOST, INSTANCE, Names
from ceilo_agent.publishers.prometheus.series import Board
from ceilo_agent.sample import FIRST, Meter, Previous, Resource, Sample, SampleType
from tests.unit.publishers.prometheus.guests import (
    CPU,
    DELTA,
    LOAD,
    NOW,
    READ,
    cpu,
    disk,
    guest,
    host,
    nic,
)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def board(clock: Clock) -> Board:
    return Board(Names(adds=True), None, clock)


def values(board: Board) -> dict[str, dict[str, float]]:
    """Return values by metric and resource."""
    return {
        family.name: {dict(point.labels)["resource_id"]: point.value for point in points}
        for family, points in board.shown().families
    }


def infos(board: Board, kind: str = INSTANCE) -> list[dict[str, str]]:
    return [dict(labels) for labels in board.shown().infos.get(kind, ())]


def test_the_last_value_stands(board: Board) -> None:
    board.add([cpu(0, 10**9), cpu(60, 2 * 10**9)])
    assert values(board) == {"ceilo_cpu_seconds_total": {"5a0e-1": 2.0}}
    board.add([cpu(120, 3 * 10**9)])
    assert values(board) == {"ceilo_cpu_seconds_total": {"5a0e-1": 3.0}}


def test_what_comes_late_does_not_stand(board: Board) -> None:
    board.add([cpu(60, 2 * 10**9)])
    board.add([cpu(0, 10**9), cpu(60, 5 * 10**9)])
    assert values(board) == {"ceilo_cpu_seconds_total": {"5a0e-1": 2.0}}


def test_a_counter_that_fell_stands_as_it_is(board: Board) -> None:
    board.add([cpu(0, 5 * 10**9)])
    board.add([cpu(60, 10**9)])
    assert values(board) == {"ceilo_cpu_seconds_total": {"5a0e-1": 1.0}}


def test_deltas_add_up_once_each(board: Board) -> None:
    samples = [Sample(DELTA, nic(), NOW + 60 * n, 100 + n) for n in range(3)]
    board.add(samples[:2])
    board.add(samples[1:])
    board.add(samples)
    total = {"instance-00000001-5a0e-1-tap0": 303.0}
    assert values(board) == {"ceilo_network_incoming_delta_bytes_total": total}


def test_a_volume_that_cannot_be_shown_is_refused_alone(board: Board) -> None:
    refused = board.add([cpu(0), cpu(60, 10**400), cpu(120, 3 * 10**9)])
    assert refused == {1: "it is beyond what a double can hold"}
    assert values(board) == {"ceilo_cpu_seconds_total": {"5a0e-1": 3.0}}


# -- gone ----------------------------------------------------------------------------------------


def every(seconds: float, board: Board, clock: Clock, samples: Sequence[Sample]) -> None:
    for sample in samples:
        clock.now += seconds
        board.add([sample])


@pytest.mark.parametrize(
    ("interval", "lasts"), [(1, 30), (10, 30), (60, 180), (300, 900), (1800, 3600), (7200, 10800)]
)
def test_a_series_is_gone_after_three_of_its_intervals(
    board: Board, clock: Clock, interval: float, lasts: float
) -> None:
    every(interval, board, clock, [cpu(0), cpu(interval)])
    clock.now += lasts
    assert values(board)
    clock.now += 0.1
    assert not values(board)
    assert not infos(board)


def test_the_interval_is_that_of_the_reading_before(board: Board, clock: Clock) -> None:
    board.add([Sample(CPU, guest(), NOW, 1, previous=Previous(20.0, 0))])
    clock.now += 60
    assert values(board)
    clock.now += 1
    assert not values(board)


def test_without_an_interval_that_of_the_source_counts(board: Board, clock: Clock) -> None:
    board.add([Sample(CPU, guest(1), NOW, 1, previous=Previous(20.0, 0), source="a")])
    board.add([Sample(CPU, guest(2), NOW, 1, previous=FIRST, source="a")])
    board.add([Sample(CPU, guest(3), NOW, 1, previous=FIRST, source="b")])
    clock.now += 61
    assert values(board) == {"ceilo_cpu_seconds_total": {"5a0e-3": 1e-09}}
    clock.now += 840
    assert not values(board)


def test_a_fixed_time(clock: Clock) -> None:
    board = Board(Names(adds=True), 5.0, clock)
    board.add([Sample(CPU, guest(), NOW, 1, previous=Previous(20.0, 0))])
    clock.now += 5.0
    assert values(board)
    clock.now += 0.1
    assert not values(board)


def test_a_gone_guest_does_not_take_others_along(board: Board, clock: Clock) -> None:
    for second in (0, 60):
        clock.now += 60
        board.add([cpu(second, resource=guest(n)) for n in (1, 2)])
    for second in (120, 180, 240, 300):
        clock.now += 60
        board.add([cpu(second, resource=guest(2))])
    assert list(values(board)["ceilo_cpu_seconds_total"]) == ["5a0e-2"]
    assert [info["name"] for info in infos(board)] == ["web-2"]


def test_a_delta_that_comes_back_begins_anew(board: Board, clock: Clock) -> None:
    every(60, board, clock, [Sample(DELTA, nic(), NOW + 60 * n, 100) for n in range(2)])
    clock.now += 1000
    assert not values(board)
    board.add([Sample(DELTA, nic(), NOW + 9999, 7)])
    assert list(values(board)["ceilo_network_incoming_delta_bytes_total"].values()) == [7.0]


# -- metadata ------------------------------------------------------------------------------------


def test_one_series_with_metadata_for_each_guest(board: Board) -> None:
    board.add([Sample(READ, disk(1), NOW, 1), cpu(), Sample(DELTA, nic(1), NOW, 1)])
    board.add([cpu(resource=guest(2)), Sample(LOAD, host(), NOW, 1)])
    assert [info["name"] for info in infos(board)] == ["web-1", "web-2"]
    assert infos(board, HOST) == [{"resource_id": "kvm-1", "host": "kvm-1"}]


def test_metadata_that_change_take_the_place_of_the_old_ones(board: Board) -> None:
    board.add([cpu(0)])
    series = board.shown().families[0][1][0].labels
    board.add([cpu(60, resource=guest(display_name="db"))])
    assert [info["name"] for info in infos(board)] == ["db"]
    assert board.shown().families[0][1][0].labels == series
    board.add([cpu(30, resource=guest(display_name="late"))])
    assert [info["name"] for info in infos(board)] == ["db"]


def test_what_a_disk_says_of_its_guest_gives_way_to_what_the_guest_says(
    board: Board, clock: Clock
) -> None:
    def beat(second: float, *names: tuple[Meter, Resource]) -> None:
        clock.now += 60
        board.add([Sample(meter, of, NOW + second, 1) for meter, of in names])

    beat(0, (READ, disk(display_name="by the disk")))
    assert infos(board)[0]["name"] == "by the disk"
    beat(60, (CPU, guest(display_name="by itself")), (READ, disk(display_name="by the disk")))
    assert infos(board)[0]["name"] == "by itself"
    # The guest is polled no more: its disk speaks for it again.
    for second in range(120, 1200, 60):
        beat(second, (READ, disk(display_name="by the disk")))
        board.shown()
    assert infos(board)[0]["name"] == "by the disk"


# -- seen whole ----------------------------------------------------------------------------------


def test_who_looks_sees_all_of_a_batch_or_nothing_of_it(board: Board) -> None:
    meters = [Meter(f"m.{n}", "", SampleType.GAUGE) for n in range(20)]
    batches = [
        [Sample(meter, guest(n), NOW + turn, turn) for meter in meters for n in range(20)]
        for turn in range(60)
    ]
    torn = []
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            found = {p.value for _, points in board.shown().families for p in points}
            if len(found) > 1:
                torn.append(found)

    thread = threading.Thread(target=look)
    thread.start()
    for batch in batches:
        board.add(batch)
    ended.set()
    thread.join()
    assert not torn


def test_guests_that_come_and_go_do_not_pile_up_where_nobody_reads(
    board: Board, clock: Clock
) -> None:
    for number in range(200):
        clock.now += 60
        resource = Resource(f"g{number}", None, None, "instance", {})
        board.add([Sample(CPU, resource, NOW + 60 * number, 1, Previous(60.0, 0))])
    held = sum(map(len, board._series.values()))
    assert (held <= 5, len(board._metadata) <= 5) == (True, True)
