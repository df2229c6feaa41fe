# SPDX-License-Identifier: Apache-2.0
"""The meters of real guests against what virsh says."""

import fnmatch
import itertools
import json
import os
import re
import signal
import subprocess
from collections import Counter, defaultdict

import pytest

from ceilo_agent import options
from ceilo_agent.discovery.libvirt.calls import MAX_IN_FLIGHT
from ceilo_agent.discovery.libvirt.domains import LibvirtDomains
from ceilo_agent.inspection.libvirt.asks import FEW
from ceilo_agent.inspection.libvirt.inspector import LibvirtInspector
from ceilo_agent.meters.catalogue import catalogue
from ceilo_agent.plugins import Context
from ceilo_agent.polling.lane import Due, Lane
from ceilo_agent.polling.tracker import Tracker
from ceilo_agent.sample import FIRST, Previous, SampleType
from tests.functional import agent
from tests.guests import daemon

CATALOGUE = catalogue("compute")
ENTRIES = {entry.name: entry for entry in CATALOGUE.meters}

NOT_EXERCISED = {
    "cpu.haltpoll.*": "the hypervisor must be KVM; here QEMU emulates",
    "vcpu.halted": "libvirt asks QEMU only on architectures where it is no I/O exit",
    "vcpu.wait": "the host's scheduler counted no wait",
    "memory.hugetlb.*": "the guests have no huge pages",
    "memory.dirty.*": "nobody asked for a measurement",
    "memory.bandwidth.*": "no resource monitoring (RDT) in the host",
    "cpu.cache.occupancy": "no resource monitoring (RDT) in the host",
    "perf.*": "no perf events in the host",
    "network.*.error": "no faulty packet",
    "network.*.drop": "no dropped packet",
    "disk.device.errors": "only Xen counts them",
    "disk.device.threshold": "nobody set one",
    "disk.ephemeral.size": "the flavor has none",
    "cpu.energy*": "no energy monitoring (RDT) in the host, nor in this libvirt",
    "pressure.*": "the kernel's, not libvirt's: test_pressure.py",
    "cpu.quota.*": "the kernel's, not libvirt's: test_pressure.py",
    "memory.charged": "the kernel's, not libvirt's: test_pressure.py",
    "memory.swapped": "the kernel's, not libvirt's: test_pressure.py",
    "memory.oom_kills": "the kernel's, not libvirt's: test_pressure.py",
    "hypervisor.*": "of all guests together: test_pressure.py",
    "iothread.poll.grow": "QEMU's default is 0",
    "iothread.poll.shrink": "QEMU's default is 0",
    "power.state.reason": "a state, it does not move",
    "monitor.*": "zero while guests answer; test_hung_guests has those that do not",
}
"""Meters that are zero, absent or unmoved in the guests of the tests, and why."""

STEADY = {
    "power.state",
    "vcpus",
    "vcpus.maximum",
    "memory",
    "memory.maximum",
    "memory.resident",
    "memory.available",
    "vcpu.state",
    "disk.device.capacity",
    "disk.root.size",
    "iothread.poll.max",
}
"""Meters that must not be zero but need not move."""


LIST_ALL_DOMAINS, GET_ALL_DOMAIN_STATS, GET_XML = "273", "344", "14"
"""Numbers of libvirt's remote procedures (`remote_protocol.x`)."""


def virsh(*arguments):
    command = ["virsh", "--readonly", "-c", "qemu:///system", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def domstats(name):
    """Return the bulk reply of a guest as virsh prints it."""
    found = {}
    for line in virsh("domstats", "--raw", name).splitlines()[1:]:
        if "=" in line:
            field, _, value = line.strip().partition("=")
            found[field] = int(value) if value.isdigit() else value
    return found


def fields_of(entry, prefix):
    """Return the field a meter is read from and what divides it, None without a counterpart."""
    single = {"memory.swap.in": "balloon.swap_in", "memory.swap.out": "balloon.swap_out"}
    if entry.name.startswith("monitor."):
        return None  # our own finding
    if entry.name in single:
        return single[entry.name], 1024
    if entry.kind == "instance_cgroup" or entry.name.startswith("monitor."):
        return None
    if entry.name == "disk.device.capacity":
        return f"{prefix}capacity", 1
    return (prefix + entry.read, entry.per) if entry.read else None


def prefix_of(sample, reply):
    """Return where the fields of a sample's resource begin in the reply."""
    entry, metadata = ENTRIES[sample["name"]], sample["resource_metadata"]
    if entry.kind in ("instance", "instance_cgroup"):
        return ""
    if entry.kind == "instance_vcpu":
        return f"vcpu.{metadata['vcpu_number']}."
    if entry.kind == "instance_iothread":
        return f"iothread.{metadata['iothread_id']}."
    part, name = {
        "instance_disk": ("block", metadata.get("disk_name")),
        "instance_network_interface": ("net", metadata.get("vnic_name")),
    }[entry.kind]
    (number,) = [n for n in range(reply[f"{part}.count"]) if reply[f"{part}.{n}.name"] == name]
    return f"{part}.{number}."


def of_guest(samples, guest):
    return [s for s in samples if s["resource_metadata"].get("instance_id") == guest.uuid]


def readings(output, guest):
    """Return how often a guest was read."""
    samples = of_guest(agent.lines(output), guest)
    return len({s["timestamp"] for s in samples if s["name"] == "power.state"})


def test_every_meter_agrees_with_virsh_before_and_after(booted):
    """Counters lie between the two readings in every attempt, gauges in one of ten."""
    unconfirmed, confirmed = set(), set()
    for _ in range(10):
        before = {guest.name: domstats(guest.name) for guest in booted}
        samples = agent.poll("--namespaces", "compute,host")
        after = {guest.name: domstats(guest.name) for guest in booted}
        for guest in booted:
            for sample in of_guest(samples, guest):
                entry = ENTRIES[sample["name"]]
                counterpart = fields_of(entry, prefix_of(sample, before[guest.name]))
                if counterpart is None:
                    continue
                field, per = counterpart
                low, high = sorted((before[guest.name][field], after[guest.name][field]))
                agrees = low / per <= sample["volume"] <= high / per
                if entry.type is SampleType.CUMULATIVE:
                    assert agrees, (guest.name, sample["name"], low, sample["volume"], high)
                (confirmed if agrees else unconfirmed).add((sample["resource_id"], entry.name))
        if confirmed and not unconfirmed - confirmed:
            break
    assert confirmed
    assert not unconfirmed - confirmed
    kinds = {ENTRIES[name].kind for _, name in confirmed}
    assert {
        "instance",
        "instance_vcpu",
        "instance_disk",
        "instance_network_interface",
        "instance_iothread",
    } <= kinds


def test_every_meter_is_alive_in_a_guest_or_listed_with_a_reason(booted, settings, tmp_path):
    config, output = settings
    with agent.running("polling", config=config, log=tmp_path / "log"):
        agent.wait_until(lambda: min(readings(output, guest) for guest in booted) >= 8)
    volumes = defaultdict(set)
    for sample in agent.lines(output):
        volumes[sample["name"], sample["resource_id"]].add(sample["volume"])
    moved = {name for (name, _), seen in volumes.items() if len(seen) > 1}
    nonzero = {name for (name, _), seen in volumes.items() if any(seen)}
    dead = []
    for name in ENTRIES:
        excused = any(fnmatch.fnmatchcase(name, pattern) for pattern in NOT_EXERCISED)
        # A steady flow has a delta that is always the same.
        enough = nonzero if name in STEADY or name.endswith(".delta") else moved
        alive = name in enough
        if not alive and not excused:
            dead.append(name)
    assert dead == []


def test_every_field_of_the_reply_is_a_meter_or_left_out_with_a_reason(booted):
    known = {
        kind.fields + entry.read
        for entry in CATALOGUE.meters
        if entry.read
        for kind in [CATALOGUE.kinds[entry.kind]]
    }
    for entry in CATALOGUE.meters:
        known.update(CATALOGUE.kinds[entry.kind].fields + need for need in entry.needs)
    left_out = {pattern for group in CATALOGUE.left_out for pattern in group.fields}
    for guest in booted:
        reply = domstats(guest.name)
        assert len(reply) > 50
        unknown = [
            field
            for field in reply
            if not any(matches(field, pattern) for pattern in known | left_out)
        ]
        assert unknown == [], (
            "say of each what meter it is, or why it is none (meters/compute.yaml)"
        )
    assert not known & left_out


def matches(field, pattern):
    """Match a field, one `*` per part of the name; `**` is the rest of it."""
    parts, wanted = field.split("."), pattern.split(".")
    if wanted[-1] == "**":
        parts = parts[: len(wanted) - 1]
        wanted = wanted[:-1]
    return len(parts) == len(wanted) and all(map(fnmatch.fnmatchcase, parts, wanted))


def test_the_reply_that_the_catalogue_was_written_for(booted):
    """libvirt may not take away what we read without our knowing."""
    reply = domstats(booted[0].name)
    for field in (
        "cpu.time",
        "balloon.usable",
        "vcpu.1.delay",
        "net.0.rx.drop",
        "block.0.fl.times",
    ):
        assert field in reply


def test_derived_meters_follow_from_their_bases(booted, settings, tmp_path):
    config, output = settings
    with agent.running("polling", config=config, log=tmp_path / "log"):
        agent.wait_until(lambda: readings(output, booted[1]) >= 5)
    series = defaultdict(dict)
    for sample in agent.lines(output):
        series[sample["name"], sample["resource_id"]][sample["timestamp"]] = sample["volume"]
    checked = 0
    for (name, resource), deltas in series.items():
        if name.endswith(".bytes.delta"):
            base = series[name.removesuffix(".delta"), resource]
            times = sorted(base)
            assert times[0] not in deltas, "the first reading has no delta"
            for earlier, later in itertools.pairwise(times):
                assert deltas[later] == base[later] - base[earlier]
                checked += 1
    assert checked >= 8


def test_metadata_of_an_instance_of_nova(booted):
    guest = booted[0]
    (sample,) = of_guest(agent.poll("--meter", "cpu"), guest)
    metadata = sample["resource_metadata"]
    assert sample["resource_id"] == guest.uuid
    assert sample["project_id"]
    assert sample["user_id"]
    assert metadata["name"] == guest.name
    assert metadata["display_name"] != guest.name
    assert metadata["flavor"]["name"] == metadata["instance_type"]
    assert metadata["cpu_number"] == 2
    assert metadata["status"] == "active"
    assert metadata["state_reason"] == "booted"
    assert metadata["vcpus"] == metadata["flavor"]["vcpus"]


def test_resource_ids_are_those_of_ceilometer(booted):
    guest = booted[0]
    ids = {s["resource_id"] for s in of_guest(agent.poll(), guest)}
    assert {
        guest.uuid,
        f"{guest.uuid}-vda",
        f"{guest.name}-{guest.uuid}-{guest.taps[0]}",
        f"{guest.uuid}-vcpu0",
        f"{guest.uuid}-vcpu1",
        f"{guest.uuid}-iothread1",
    } == ids - {f"{guest.uuid}-cgroup"}  # where the host has control groups


def test_a_drive_without_a_medium_is_no_disk(booted):
    reply = domstats(booted[0].name)
    names = {reply[f"block.{n}.name"] for n in range(reply["block.count"])}
    samples = of_guest(agent.poll("--meter", "disk.device.*"), booted[0])
    reported = {s["resource_metadata"]["disk_name"] for s in samples}
    assert names - reported == {"hda"}


def test_stopped_guests_are_told_only_when_asked_for(booted, settings):
    config, _ = settings
    guest = booted[1]
    guest.destroy()
    try:
        assert of_guest(agent.poll(config=config), guest) == []
        with config.open("a") as file:
            file.write("[compute]\nreport_stopped_instance_metrics = true\n")
        samples = {s["name"]: s["volume"] for s in of_guest(agent.poll(config=config), guest)}
        assert samples["power.state"] == 5
        assert samples["disk.device.capacity"] > 0
        assert not {"cpu", "cpu.time", "network.incoming.bytes"} & samples.keys()
    finally:
        guest.start()


def test_calls_do_not_grow_with_the_meters(booted, settings, tmp_path):
    """A cycle costs a listing and a few bulk calls, whatever is asked for."""
    config, output = settings
    guests = len(virsh("list", "--uuid").split())
    parts = min(MAX_IN_FLIGHT, -(-guests // FEW))
    for patterns in (["power.state"], ["*"]):
        pipeline = json.loads((tmp_path / "pipeline.yaml").read_text())
        pipeline["sources"][0]["meters"] = patterns
        (tmp_path / "pipeline.yaml").write_text(json.dumps(pipeline))
        output.unlink(missing_ok=True)
        log = tmp_path / "rpc"
        with agent.running(
            "polling",
            config=config,
            log=tmp_path / "log",
            LIBVIRT_LOG_FILTERS="1:rpc",
            LIBVIRT_LOG_OUTPUTS=f"1:file:{log}",
        ):
            agent.wait_until(lambda: readings(output, booted[1]) >= 5)
        calls = Counter(re.findall(r"RPC_CLIENT_MSG_TX_QUEUE:.* proc=(\d+)", log.read_text()))
        log.unlink()
        cycles = calls[LIST_ALL_DOMAINS]
        assert cycles >= 5
        # A guest that is busy at that moment is asked once more.
        assert parts * cycles <= calls[GET_ALL_DOMAIN_STATS] <= parts * cycles + 2
        assert calls[GET_XML] == guests
        # The rest is three connections (one finds out at first what the host can do): opening them,
        # asking what they can, registering for events; and each guest is looked up once.
        assert calls.total() - (1 + parts) * cycles - 2 * guests <= 40


@pytest.fixture
def settings(tmp_path):
    """A configuration that polls every second into a file of JSON lines."""
    output = tmp_path / "samples.json"
    pipeline = tmp_path / "pipeline.yaml"
    pipeline.write_text(
        json.dumps(
            {
                "sources": [{"name": "all", "interval": 1, "meters": ["*"], "sinks": ["file"]}],
                "sinks": [{"name": "file", "publishers": [f"file://{output}"]}],
            }
        )
    )
    config = tmp_path / "agent.conf"
    config.write_text(f"""[DEFAULT]
host = functional
state_path = {tmp_path}/state
pipeline_cfg_file = {pipeline}
[polling]
namespaces = compute
[libvirt]
uri = qemu:///system
""")
    return config, output


def test_a_restart_of_the_agent_keeps_the_series(booted, settings, tmp_path):
    """The delta over the gap is the counter's gain over it: the pair was right."""
    config, output = settings
    for _ in range(2):
        already = readings(output, booted[0])
        with agent.running("polling", config=config, log=tmp_path / "log"):
            agent.wait_until(lambda already=already: readings(output, booted[0]) >= already + 3)
    series = defaultdict(dict)
    for sample in agent.lines(output):
        series[sample["name"], sample["resource_id"]][sample["timestamp"]] = sample["volume"]
    for (name, resource), base in series.items():
        if name == "network.outgoing.bytes":
            deltas = series[f"{name}.delta", resource]
            times = sorted(base)
            assert sorted(deltas) == times[1:], "only the very first reading has no delta"
            assert sum(deltas.values()) == base[times[-1]] - base[times[0]]


def test_a_restart_of_a_guest_begins_its_series_anew(booted, settings, tmp_path):
    config, output = settings
    guest = booted[1]

    def of_this(name):
        return [
            s
            for s in agent.lines(output)
            if s["name"] == name and s["resource_metadata"]["instance_id"] == guest.uuid
        ]

    with agent.running("polling", config=config, log=tmp_path / "log"):
        agent.wait_until(lambda: len(of_this("network.incoming.bytes.delta")) >= 2)
        guest.destroy()
        guest.start()
        count = len(of_this("network.incoming.bytes"))
        agent.wait_until(lambda: len(of_this("network.incoming.bytes")) >= count + 3)
    assert all(s["volume"] >= 0 for s in of_this("network.incoming.bytes.delta"))
    readings = len(of_this("network.incoming.bytes"))
    assert len(of_this("network.incoming.bytes.delta")) == readings - 2, "two runs, two firsts"


def test_a_new_run_of_a_guest_is_first_with_a_new_start(booted):
    guest = booted[1]
    conf = options.parse([], {"libvirt.uri": "qemu:///system"})
    context = Context("here", options.values(conf))
    source = Due("s", 20.0, frozenset({"cpu.time"}), Tracker("s", "cpu.time".__eq__, 20.0))
    batches = []
    lane = Lane(
        "compute",
        "here",
        LibvirtDomains(context),
        LibvirtInspector(context),
        [source],
        batches.append,
    )

    def poll():
        lane.poll_all()
        (sample,) = [s for s in batches[-1].samples if s.resource.id == guest.uuid]
        return sample

    first, second = poll(), poll()
    guest.destroy()
    guest.start()
    third, fourth = poll(), poll()
    lane.close()
    assert first.previous is third.previous is FIRST
    assert second.previous == Previous(second.previous.elapsed, first.volume)
    assert fourth.previous == Previous(fourth.previous.elapsed, third.volume)
    assert first.started == second.started == first.time
    assert third.started == fourth.started == third.time


def test_a_hung_guest_and_a_hung_libvirtd_do_not_keep_the_agent_from_ending(
    booted, settings, tmp_path
):
    config, output = settings
    with agent.running("polling", config=config, log=tmp_path / "log"):
        agent.wait_until(lambda: agent.lines(output))
        booted[0].stop_process()
        try:
            agent.wait_until(lambda: "does not answer" in (tmp_path / "log").read_text())
        finally:
            booted[0].cont_process()
    # `running` has checked that it ended within 5 s; now with libvirtd itself stopped.
    number = daemon.pid()
    with agent.running("polling", config=config, log=tmp_path / "log2"):
        agent.wait_until(lambda: "connected" in (tmp_path / "log2").read_text())
        os.kill(number, signal.SIGSTOP)
        try:
            agent.wait_until(lambda: "no samples" in (tmp_path / "log2").read_text())
        finally:
            os.kill(number, signal.SIGCONT)
