# SPDX-License-Identifier: Apache-2.0
"""From the bulk reply of a guest to observations; the reply and the XML are recorded ones."""

import json
from pathlib import Path

import pytest

from ceilo_agent.discovery.libvirt.guest import Guest, describe
from ceilo_agent.inspection.libvirt import allocation, cgroup
from ceilo_agent.inspection.libvirt.computed import FUNCTIONS
from ceilo_agent.inspection.libvirt.inspector import LibvirtInspector
from ceilo_agent.inspection.libvirt.layout import GROUPS, NOT_GIVEN, Layout
from ceilo_agent.inspection.libvirt.parts import PARTS
from ceilo_agent.inspection.libvirt.rows import Row
from ceilo_agent.meters.catalogue import catalogue
from ceilo_agent.plugins import Context

BENCH = Path(__file__).parents[3] / "bench"
XML = (BENCH / "domain.xml").read_text()
REPLY = json.loads((BENCH / "reply.json").read_text())
UUID = "762ccd4b-50b5-48ec-845e-7c4223071e14"
CATALOGUE = catalogue("compute")
EVERYTHING = frozenset(entry.name for entry in CATALOGUE.meters)


def guest_of(xml=XML, run=7):
    return Guest(UUID, None, run, describe(xml), None)


def observe(reply, xml=XML, guest=None, inspector=None, wanted=EVERYTHING):
    inspector = inspector or LibvirtInspector(Context("host-1", {}))
    return list(inspector.observe([Row(guest or guest_of(xml), reply, 5.0)], wanted))


def values(observations, resource_id):
    """Return the values of one resource by the meter's name, the absent ones left out."""
    (found,) = [seen for seen in observations if seen.resource.id == resource_id]
    pairs = zip(found.columns, found.volumes, strict=True)
    return {column.meter.name: volume for column, volume in pairs if volume is not None}


def test_every_kind_and_every_function_of_the_catalogue_exists():
    apart = {cgroup.KIND, allocation.KIND}  # not from the reply
    assert set(PARTS) | apart == set(CATALOGUE.kinds)
    assert {e.compute for e in CATALOGUE.meters if e.compute} == set(FUNCTIONS)
    Layout(CATALOGUE, EVERYTHING)  # every field belongs to a group


def test_only_the_groups_that_are_needed_are_asked_for():
    assert Layout(CATALOGUE, frozenset({"memory"})).groups == GROUPS["state"] | GROUPS["balloon"]
    assert Layout(CATALOGUE, frozenset({"network.incoming.bytes.rate"})).groups == (
        GROUPS["state"] | GROUPS["net"]
    )
    assert Layout(CATALOGUE, frozenset({"disk.root.size"})).groups == GROUPS["state"]


def test_an_instance_reads_what_the_reply_says():
    found = values(observe(REPLY), UUID)
    assert found["cpu"] == sum(REPLY[f"vcpu.{n}.time"] + REPLY[f"vcpu.{n}.wait"] for n in (0, 1))
    assert found["memory"] == REPLY["balloon.current"] / 1024
    assert found["memory.usage"] == (REPLY["balloon.available"] - REPLY["balloon.usable"]) / 1024
    assert found["disk.root.size"] == 1
    assert "perf.instructions" not in found


def test_absent_is_absent_and_never_zero():
    bare = {"state.state": 1, "state.reason": 0}
    (only,) = observe(bare)
    assert values([only], UUID) == {
        "power.state": 1,
        "power.state.reason": 0,
        "disk.root.size": 1,
        "disk.ephemeral.size": 0,
    }


def test_all_ones_is_absent_and_one_less_is_kept():
    reply = REPLY | {"net.0.rx.bytes": NOT_GIVEN, "net.0.tx.bytes": NOT_GIVEN - 1}
    (nic,) = [o for o in observe(reply) if o.resource.type == "instance_network_interface"]
    found = values([nic], nic.resource.id)
    assert "network.incoming.bytes" not in found
    assert found["network.outgoing.bytes"] == 2**64 - 2


def test_all_ones_never_enters_a_computed_meter():
    fields = ("balloon.usable", "balloon.swap_in", "vcpu.0.time", "block.0.physical")
    found = values(observe(REPLY | dict.fromkeys(fields, NOT_GIVEN)), UUID)
    assert found["cpu"] == REPLY["cpu.time"]
    assert found["memory.usage"] == (REPLY["balloon.available"] - REPLY["balloon.unused"]) / 1024
    assert "memory.swap.in" not in found
    disk = values(observe(REPLY | dict.fromkeys(fields, NOT_GIVEN)), f"{UUID}-vda")
    assert disk["disk.device.capacity"] == REPLY["block.0.capacity"]


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        ({"balloon.usable": 512, "balloon.unused": 256}, 0.5),
        ({"balloon.unused": 256}, 0.75),
        ({}, None),
    ],
)
def test_memory_usage_never_guesses(left, expected):
    reply = {"state.state": 1, "balloon.available": 1024, **left}
    assert values(observe(reply), UUID).get("memory.usage") == expected


def test_cpu_falls_back_where_a_vcpu_lacks_figures():
    reply = {"state.state": 1, "vcpu.current": 2, "vcpu.maximum": 4, "cpu.time": 99}
    holes = {"vcpu.0.time": 5, "vcpu.0.wait": 1, "vcpu.3.time": 10, "vcpu.3.wait": 2}
    assert values(observe(reply | holes), UUID)["cpu"] == 18
    assert values(observe(reply | {"vcpu.0.time": 5, "vcpu.0.wait": 1}), UUID)["cpu"] == 99


def test_swap_needs_both_directions():
    reply = {"state.state": 1, "balloon.swap_in": 2048}
    assert "memory.swap.in" not in values(observe(reply), UUID)
    both = reply | {"balloon.swap_out": 1024}
    assert values(observe(both), UUID)["memory.swap.in"] == 2.0


def test_vcpu_numbers_may_have_holes():
    reply = {"state.state": 1, "vcpu.maximum": 4, "vcpu.0.state": 1, "vcpu.3.state": 1}
    ids = [o.resource.id for o in observe(reply) if o.resource.type == "instance_vcpu"]
    assert ids == [f"{UUID}-vcpu0", f"{UUID}-vcpu3"]


def test_a_drive_without_a_medium_is_no_disk_and_one_with_a_new_medium_is_looked_at_again():
    guest = guest_of()
    disks = [o.resource.id for o in observe(REPLY, guest=guest) if "disk" in o.resource.type]
    assert disks == [f"{UUID}-vda"]
    assert not guest.stale
    observe(REPLY | {"block.1.path": "/images/new.iso"}, guest=guest)
    assert guest.stale


def test_a_device_that_the_xml_does_not_know_makes_it_be_read_again():
    guest = guest_of()
    observe(REPLY | {"net.count": 2, "net.1.name": "tap-new"}, guest=guest)
    assert guest.stale


def test_several_interfaces_of_one_name_are_one_series():
    double = {key.replace("net.0", "net.1"): v for key, v in REPLY.items() if "net.0" in key}
    observations = observe(REPLY | double | {"net.count": 2})
    kinds = [o.resource.type for o in observations]
    assert kinds.count("instance_network_interface") == 1


def test_monitors_of_the_host_are_parts():
    monitors = {
        "cpu.cache.monitor.count": 1,
        "cpu.cache.monitor.0.name": "vcpus_0-1",
        "cpu.cache.monitor.0.vcpus": "0-1",
        "cpu.cache.monitor.0.bank.count": 2,
        "cpu.cache.monitor.0.bank.0.id": 0,
        "cpu.cache.monitor.0.bank.0.bytes": 100,
        "cpu.cache.monitor.0.bank.1.id": 1,
        "cpu.cache.monitor.0.bank.1.bytes": 200,
        "memory.bandwidth.monitor.count": 1,
        "memory.bandwidth.monitor.0.name": "vcpus_0-1",
        "memory.bandwidth.monitor.0.vcpus": "0-1",
        "memory.bandwidth.monitor.0.node.count": 1,
        "memory.bandwidth.monitor.0.node.0.id": 5,
        "memory.bandwidth.monitor.0.node.0.bytes.local": 10,
        "memory.bandwidth.monitor.0.node.0.bytes.total": 30,
    }
    observations = observe(REPLY | monitors)
    assert values(observations, f"{UUID}-vcpus_0-1-cache1") == {"cpu.cache.occupancy": 200}
    assert values(observations, f"{UUID}-vcpus_0-1-node5") == {
        "memory.bandwidth.local": 10,
        "memory.bandwidth.total": 30,
    }


def test_metadata_is_shared_and_changes_with_the_state():
    inspector = LibvirtInspector(Context("host-1", {}))
    guest = guest_of()
    first = observe(REPLY, guest=guest, inspector=inspector)[0].resource
    again = observe(REPLY, guest=guest, inspector=inspector)[0].resource
    assert again is first
    paused = REPLY | {"state.state": 3, "state.reason": 1}
    third = observe(paused, guest=guest, inspector=inspector)[0].resource
    assert (third.metadata["status"], third.metadata["state_reason"]) == ("paused", "user")
    assert first.metadata["status"] == "active"


def test_a_guest_that_migrates_in_is_not_reported_before_it_runs_here():
    inspector = LibvirtInspector(Context("host-1", {}))
    incoming = REPLY | {"state.state": 3, "state.reason": 2}
    assert observe(incoming, inspector=inspector) == []
    assert observe(REPLY | {"state.state": 3, "state.reason": 11}, inspector=inspector) == []
    assert observe(REPLY, inspector=inspector) != []


def test_a_guest_that_migrates_out_is_reported_until_it_is_gone():
    inspector = LibvirtInspector(Context("host-1", {}))
    assert observe(REPLY, inspector=inspector) != []
    assert observe(REPLY | {"state.state": 3, "state.reason": 2}, inspector=inspector) != []


def test_a_stopped_guest_has_a_state_and_sizes_and_no_cpu_time():
    stopped = {
        "state.state": 5,
        "state.reason": 2,
        "cpu.time": 397040000000,  # seen with libvirt 9.0, of whatever process
        "cpu.user": 169660000000,
        "balloon.current": 16384,
        "vcpu.current": 1,
        "vcpu.maximum": 1,
        "block.count": 1,
        "block.0.name": "vda",
        "block.0.capacity": 67108864,
        "block.0.physical": 393216,
    }
    observations = observe(stopped, guest=guest_of(run=-1))
    found = values(observations, UUID)
    assert found["power.state"] == 5
    assert (found["vcpus"], found["memory"]) == (1, 16.0)
    assert not {"cpu", "cpu.time", "cpu.user"} & found.keys()
    assert values(observations, f"{UUID}-vda")["disk.device.capacity"] == 67108864
    assert observations[0].resource.metadata["status"] == "stopped"


def test_a_guest_without_disk_or_interface_is_read():
    reply = {name: value for name, value in REPLY.items() if name[:4] not in ("bloc", "net.")}
    bare = reply | {"block.count": 0, "net.count": 0}
    kinds = {seen.resource.type for seen in observe(bare)}
    assert kinds == {"instance", "instance_vcpu"}


def test_a_new_run_or_another_device_is_another_incarnation():
    by_id = {o.resource.id: o.incarnation for o in observe(REPLY)}
    later = {o.resource.id: o.incarnation for o in observe(REPLY, guest=guest_of(run=8))}
    assert all(by_id[resource] != later[resource] for resource in by_id)
    mac = describe(XML).interfaces["tap51b170f1-6a"].mac
    other = {
        o.resource.id: o.incarnation for o in observe(REPLY, XML.replace(mac, "02:00:00:0:0:1"))
    }
    changed = {resource for resource in by_id if by_id[resource] != other[resource]}
    assert changed == {f"lead-00000001-{UUID}-tap51b170f1-6a"}


def test_a_plain_domain_is_first_class():
    plain = """<domain type='kvm'><name>wéb-日本</name><title>The web</title>
      <description>it serves</description><os><type arch='x86_64'>hvm</type></os><devices>
      <disk device='disk'><source file='/i.qcow2'/><target dev='vda' bus='virtio'/></disk>
      <interface type='network'><mac address='52:54:00:00:00:01'/><target dev='vnet0'/>
      <filterref filter='clean-traffic'/></interface>
      <interface type='user'><mac address='52:54:00:00:00:02'/></interface>
      </devices></domain>"""
    reply = REPLY | {"net.0.name": "vnet0"}
    resources = {o.resource.type: o.resource for o in observe(reply, plain)}
    instance = resources["instance"]
    assert (instance.id, instance.project_id, instance.user_id) == (UUID, None, None)
    assert instance.metadata["display_name"] == instance.metadata["name"] == "wéb-日本"
    assert instance.metadata["title"] == "The web"
    assert instance.metadata["description"] == "it serves"
    # A filter that many domains share must not be the id of each one's interface.
    assert resources["instance_network_interface"].id == f"wéb-日本-{UUID}-vnet0"
    assert "disk.root.size" not in values(observe(reply, plain), UUID)


def test_an_instance_of_nova_takes_the_filter_for_the_id_of_its_interface():
    xml = XML.replace(
        "<target dev='tap51b170f1-6a'/>",
        "<target dev='tap51b170f1-6a'/><filterref filter='nova-instance-1-fa'/>",
    )
    ids = {o.resource.type: o.resource.id for o in observe(REPLY, xml)}
    assert ids["instance_network_interface"] == "nova-instance-1-fa"
