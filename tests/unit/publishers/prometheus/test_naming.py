# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re

import pytest

from ceilo_agent.meters import catalogue
from ceilo_agent.meters.catalogue import NAMESPACES
from ceilo_agent.publishers.prometheus.naming import COUNTERS, INFOS, Family, Names
from ceilo_agent.sample import Meter, SampleType, Volume

ENTRIES = [entry for each in NAMESPACES for entry in catalogue(each).meters]
METERS = [Meter(entry.name, entry.unit, entry.type) for entry in ENTRIES]


def family(name: str, unit: str, kind: str = "gauge", *, adds: bool = True) -> Family:
    return Names(adds=adds).family(Meter(name, unit, SampleType(kind)))


@pytest.mark.parametrize(
    ("meter", "unit", "kind", "name"),
    [
        ("cpu", "ns", "cumulative", "ceilo_cpu_seconds_total"),
        ("cpu_util", "%", "gauge", "ceilo_cpu_util_ratio"),
        ("memory.usage", "MiB", "gauge", "ceilo_memory_usage_bytes"),
        ("memory.bandwidth.total", "B", "cumulative", "ceilo_memory_bandwidth_bytes_total"),
        ("disk.device.read.bytes", "B", "cumulative", "ceilo_disk_device_read_bytes_total"),
        ("disk.device.read.bytes.rate", "B/s", "gauge", "ceilo_disk_device_read_bytes_per_second"),
        ("network.incoming.packets.rate", "packet/s", "gauge",
         "ceilo_network_incoming_packets_per_second"),
        ("network.incoming.bytes.delta", "B", "delta", "ceilo_network_incoming_delta_bytes_total"),
        ("network.incoming.bandwidth", "Mbit/s", "gauge",
         "ceilo_network_incoming_bandwidth_bytes_per_second"),
        ("hardware.cpu.user", "tick", "gauge", "ceilo_hardware_cpu_user_seconds_total"),
        ("hardware.disk.read.bytes", "B", "gauge", "ceilo_hardware_disk_read_bytes_total"),
        ("hardware.disk.size.total", "KB", "gauge", "ceilo_hardware_disk_size_total_bytes"),
        ("hardware.system_stats.processes.total", "process", "gauge",
         "ceilo_hardware_system_stats_total_processes"),
        ("hardware.cpu.count", "cpu", "gauge", "ceilo_hardware_cpus"),
        ("power.state", "", "gauge", "ceilo_power_state"),
        ("cpu.rate", "ns/s", "gauge", "ceilo_cpu_ratio"),
        ("rate", "B/s", "gauge", "ceilo_rate_bytes_per_second"),
        ("bytes", "B", "gauge", "ceilo_bytes_bytes"),
        ("total", "", "gauge", "ceilo_total"),
        ("image.size", "image", "gauge", "ceilo_image_size"),
        ("a-b c:d", "", "gauge", "ceilo_a_b_c_d"),
        ("\u6e29\u5ea6", "C", "gauge", "ceilo_meter_celsius"),
    ],
)  # fmt: skip
def test_a_meters_name(meter: str, unit: str, kind: str, name: str) -> None:
    found = family(meter, unit, kind)
    assert found.name == name
    assert found.counter == name.endswith("_total") or not found.counter


@pytest.mark.parametrize(
    ("unit", "volume", "value"),
    [
        ("ns", 2**64 - 1, 18446744073.709551615),
        ("ns", 1, 1e-09),
        ("us", 1_500_000, 1.5),
        ("ms", 250, 0.25),
        ("tick", 12345, 123.45),
        ("B", 2**53 - 1, 9007199254740991.0),
        ("KB", 3, 3072.0),
        ("MiB", 0.5, 524288.0),
        ("GiB", 20, 21474836480.0),
        ("Mbit/s", 1000, 125_000_000.0),
        ("%", 12.5, 0.125),
        ("packet", 7, 7.0),
        ("", -1, -1.0),
    ],
)
def test_a_volume_in_the_base_unit(unit: str, volume: Volume, value: float) -> None:
    assert family("m", unit).value(volume) == value


def test_a_volume_that_no_double_can_hold() -> None:
    for unit in ("", "ns", "KB"):
        with pytest.raises(OverflowError):
            family("m", unit).value(10**400)


def test_every_meter_of_the_agent_has_a_good_name_of_its_own() -> None:
    names = Names(adds=True)
    found = [names.family(meter) for meter in METERS]
    assert len({each.base for each in found}) == len(METERS)
    for each, entry in zip(found, ENTRIES, strict=True):
        assert re.fullmatch("ceilo_[a-z][a-z0-9_]*[a-z0-9]", each.base)
        assert "__" not in each.base
        assert each.base.removeprefix("ceilo_") not in INFOS
        assert not re.search("_(total|count|sum|bucket|info|created)$", each.base) or each.counter
        assert not re.search("_(ns|us|ms|kb|mib|gib|percent)(_|$)", each.base)
        assert each.counter == (entry.type is not SampleType.GAUGE or entry.name in COUNTERS)
        assert entry.description.strip() in each.help


def test_what_is_called_a_gauge_and_counts_is_in_the_catalogue() -> None:
    gauges = {meter.name for meter in METERS if meter.type is SampleType.GAUGE}
    assert gauges >= COUNTERS


def test_a_delta_meter_is_a_gauge_where_nothing_is_added_up() -> None:
    found = family("network.incoming.bytes.delta", "B", "delta", adds=False)
    assert found.name == "ceilo_network_incoming_delta_bytes"
    assert not found.counter
    assert not found.adds


def test_two_meters_of_one_name(caplog: pytest.LogCaptureFixture) -> None:
    names = Names(adds=True)
    first = Meter("a.b", "", SampleType.GAUGE)
    second = Meter("a_b", "", SampleType.GAUGE)
    assert names.family(first).name == "ceilo_a_b"
    apart = names.family(second).name
    assert re.fullmatch("ceilo_a_b_[0-9a-f]{8}", apart)
    assert names.family(second).name == apart
    assert Names(adds=True).family(first) == names.family(first)
    (record,) = caplog.records
    assert record.getMessage() == (
        "the meter 'a_b' (gauge, unit '') would have the name ceilo_a_b in Prometheus, as the "
        f"meter 'a.b' (gauge, unit '') has: it is called {apart} there"
    )


def test_the_agents_own_meters_keep_their_names_whoever_comes_first() -> None:
    names = Names(adds=True)
    other = names.family(Meter("cpu", "s", SampleType.GAUGE))
    assert other.base.startswith("ceilo_cpu_seconds_")
    cpu = Meter("cpu", "ns", SampleType.CUMULATIVE)
    assert names.family(cpu).name == "ceilo_cpu_seconds_total"


def test_a_gauge_and_a_counter_are_not_told_apart_by_total_alone() -> None:
    names = Names(adds=True)
    gauge = names.family(Meter("x", "", SampleType.GAUGE))
    counter = names.family(Meter("x", "", SampleType.CUMULATIVE))
    assert gauge.base != counter.base


@pytest.mark.parametrize("meter", ["instance", "host", "resource"])
def test_the_names_of_metadata_are_taken(meter: str) -> None:
    found = family(meter, "instance")
    assert found.base != f"ceilo_{meter}"


def test_another_prefix_and_none() -> None:
    meter = Meter("5min.load", "", SampleType.GAUGE)
    assert Names("kvm_", adds=True).family(meter).name == "kvm_5min_load"
    assert Names("", adds=True).family(meter).name == "_5min_load"


@pytest.mark.parametrize("meter", ["instance.info", "host.info", "resource.info"])
def test_a_counter_does_not_share_a_name_with_metadata(meter: str) -> None:
    found = family(meter, "", "delta")
    assert found.base != "ceilo_" + meter.replace(".", "_")


def test_a_float_beyond_a_double_in_the_base_unit_is_no_infinity() -> None:
    with pytest.raises(OverflowError):
        family("x", "MiB").value(1e308)
