# SPDX-License-Identifier: Apache-2.0
"""The figures that `up` shows."""

from ceilo_agent.cli.board import HEADER, Board
from ceilo_agent.sample import FIRST, Batch, Meter, Previous, Resource, Sample, SampleType


def sample(guest, meter, volume, previous=FIRST, resource=None):
    metadata = {"instance_id": guest, "display_name": f"name-{guest}", "state": "running"}
    resource = Resource(resource or guest, None, None, "instance", metadata)
    kind = Meter(meter, "", SampleType.CUMULATIVE)
    return Sample(kind, resource, 5.0, volume, previous, 1.0, "s")


def test_rates_come_from_the_previous_reading_and_devices_add_up():
    board = Board()
    board.update(
        Batch(
            "s",
            [
                sample("1", "cpu", 3 * 10**9, Previous(2.0, 2 * 10**9)),
                sample("1", "memory.usage", 100.4),
                sample("1", "memory", 512),
                sample("1", "disk.device.read.bytes", 3 << 20, Previous(2.0, 1 << 20), "1-vda"),
                sample("1", "disk.device.read.bytes", 9 << 20, Previous(2.0, 3 << 20), "1-vdb"),
            ],
        )
    )
    assert board.rows() == [("name-1", "running", "50.0", "100", "512", "4.0", "-", "-", "-")]
    assert len(HEADER) == len(board.rows()[0])


def test_a_guest_that_its_source_no_longer_tells_of_vanishes():
    board = Board()
    board.update(Batch("s", [sample("1", "cpu", 1), sample("2", "cpu", 1)]))
    board.update(Batch("s", [sample("2", "cpu", 1)]))
    board.update(Batch("host", []))
    assert [row[0] for row in board.rows()] == ["name-2"]
    board.update(Batch("s", []))
    assert board.rows() == []


def test_the_host_of_the_same_source_empties_nothing():
    board = Board()
    board.update(Batch("s", [sample("1", "cpu", 1)]))
    uptime = Sample(
        Meter("hardware.uptime", "s", SampleType.GAUGE),
        Resource("h", None, None, "host", {}),
        1.0,
        5,
    )
    board.update(Batch("s", [uptime]))
    assert [row[0] for row in board.rows()] == ["name-1"]


def test_the_rate_of_a_device_that_is_gone_counts_no_more():
    board = Board()
    meter = "network.incoming.bytes"
    both = [sample("1", meter, 10240, Previous(1.0, 0), f"1-tap{n}") for n in (1, 2)]
    board.update(Batch("s", both))
    assert board.rows()[0][7] == "20.0"
    board.update(Batch("s", both[:1]))
    assert board.rows()[0][7] == "10.0"
    board.update(Batch("s", [sample("1", meter, 5, FIRST, "1-tap1")]))
    assert board.rows()[0][7] == "-"


def test_many_guests_are_cut_to_the_busiest_and_names_sort_by_number():
    board = Board()
    usage = {"1": 10, "2": 30, "10": 20, "11": 5}
    busy = [sample(g, "cpu", n * 10**7, Previous(1.0, 0)) for g, n in usage.items()]
    board.update(Batch("s", busy))
    assert [row[0] for row in board.rows()] == ["name-1", "name-2", "name-10", "name-11"]
    assert [row[0] for row in board.rows(3)] == ["name-2", "name-10", "... and 2 less busy"]


def test_the_host_has_a_line_of_its_own():
    board = Board()
    assert board.host() == ""
    host = Resource("h", None, None, "host", {})
    figures = {
        "hardware.cpu.load.1min": 0.5,
        "hardware.memory.used": 1 << 20,
        "hardware.memory.total": 2 << 20,
    }
    board.update(
        Batch(
            "host",
            [
                Sample(Meter(name, "", SampleType.GAUGE), host, 1.0, volume)
                for name, volume in figures.items()
            ],
        )
    )
    assert board.host() == "load 0.50, memory 1.0 of 2.0 GiB"
    assert board.rows() == []
