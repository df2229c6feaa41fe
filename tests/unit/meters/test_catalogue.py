# SPDX-License-Identifier: Apache-2.0
"""The catalogues themselves, and what a catalogue may not say."""

from __future__ import annotations

import re

import pytest

from ceilo_agent.meters import catalogue, load
from ceilo_agent.meters.catalogue import NAMESPACES, known
from ceilo_agent.plugins import Derivation

HEAD = "namespace: host\nkinds: {host: {description: A host., id: <host>}}\nmeters:\n"

A = "  - {name: a, unit: B, type: cumulative, kind: host, read: x.a, description: A.}\n"


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_names_are_plain_and_said_once(namespace: str) -> None:
    for entry in catalogue(namespace).meters:
        assert re.fullmatch(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*", entry.name)
        assert known()[entry.name] == namespace


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_every_entry_says_what_it_means_in_one_line(namespace: str) -> None:
    found = catalogue(namespace)
    assert found.namespace == namespace
    for entry in found.meters:
        assert "\n" not in entry.description
        assert entry.description.endswith(".")
    for left in found.left_out:
        assert left.reason
        assert "\n" not in left.reason


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_a_derived_meter_follows_from_meters_that_are_read(namespace: str) -> None:
    entries = {entry.name: entry for entry in catalogue(namespace).meters}
    for entry in entries.values():
        if entry.derive is None:
            assert not entry.of
            continue
        assert len(entry.of) == (2 if entry.derive is Derivation.MEAN else 1)
        for name in entry.of:
            assert entries[name].derive is None
            assert entries[name].kind == entry.kind


def test_the_host_keeps_ceilometers_names() -> None:
    """The meters of Ceilometer's SNMP poller, its last release that had one: unit and type."""
    found = {e.name: (e.unit, e.type.value) for e in catalogue("host").meters if e.ceilometer}
    ceilometers = {
        "hardware.cpu.load.1min": ("process", "gauge"),
        "hardware.cpu.load.5min": ("process", "gauge"),
        "hardware.cpu.load.15min": ("process", "gauge"),
        "hardware.cpu.util": ("%", "gauge"),
        "hardware.disk.size.total": ("KB", "gauge"),
        "hardware.disk.size.used": ("KB", "gauge"),
        "hardware.disk.read.bytes": ("B", "gauge"),
        "hardware.disk.write.bytes": ("B", "gauge"),
        "hardware.disk.read.requests": ("requests", "gauge"),
        "hardware.disk.write.requests": ("requests", "gauge"),
        "hardware.memory.total": ("KB", "gauge"),
        "hardware.memory.used": ("KB", "gauge"),
        "hardware.memory.swap.total": ("KB", "gauge"),
        "hardware.memory.swap.avail": ("KB", "gauge"),
        "hardware.memory.buffer": ("KB", "gauge"),
        "hardware.memory.cached": ("KB", "gauge"),
        "hardware.network.incoming.bytes": ("B", "cumulative"),
        "hardware.network.outgoing.bytes": ("B", "cumulative"),
        "hardware.network.outgoing.errors": ("packet", "cumulative"),
        "hardware.network.ip.incoming.datagrams": ("datagrams", "cumulative"),
        "hardware.network.ip.outgoing.datagrams": ("datagrams", "cumulative"),
        "hardware.system_stats.cpu.idle": ("%", "gauge"),
        "hardware.system_stats.io.incoming.blocks": ("blocks", "cumulative"),
        "hardware.system_stats.io.outgoing.blocks": ("blocks", "cumulative"),
        **{
            f"hardware.cpu.{mode}": ("tick", "gauge")
            for mode in ("user", "nice", "system", "idle", "wait", "kernel", "interrupt")
        },
    }
    assert found == ceilometers


@pytest.mark.parametrize(
    ("meters", "message"),
    [
        (A + A, "the meter a stands twice"),
        (A.replace("kind: host", "kind: hosts"), "unknown kind: hosts"),
        (A.replace("read: x.a, ", ""), "no way, or two ways"),
        (A.replace("read: x.a", "read: x.a, compute: sum"), "no way, or two ways"),
        (A.replace("read: x.a", "derive: rate, of: [b]"), "derived from b, which is no sibling"),
        (A.replace("cumulative", "counter"), "Invalid enum value 'counter'"),
        (A.replace("unit: B", "units: B"), "unknown field `units`"),
        (A.replace("unit: B, ", ""), "missing required field `unit`"),
    ],
)
def test_a_catalogue_that_contradicts_itself_is_refused(meters: str, message: str) -> None:
    load(HEAD + A)
    with pytest.raises(ValueError, match=re.escape(message)):
        load(HEAD + meters)


def test_columns_come_in_the_catalogues_order_with_what_they_are_derived_from() -> None:
    rate = A.replace("name: a", "name: r").replace("read: x.a", "derive: rate, of: [a]")
    found = load(HEAD + rate + A.replace("name: a", "name: b") + A)
    columns = found.columns("host", frozenset(["r"]))
    assert [column.meter.name for column in columns] == ["r", "a"]
    assert [column.derive for column in columns] == [Derivation.RATE, None]
    assert found.columns("host", frozenset(["other"])) == ()
