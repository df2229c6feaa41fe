# SPDX-License-Identifier: Apache-2.0
"""Nova's metadata in a domain's XML, of several releases and broken in several ways."""

import json
from typing import Any

import pytest

from ceilo_agent.discovery.libvirt.guest import Description, Guest, describe
from ceilo_agent.inspection.libvirt.inspector import LibvirtInspector
from ceilo_agent.inspection.libvirt.resources import GuestResources
from ceilo_agent.inspection.libvirt.rows import Row
from ceilo_agent.plugins import Context, Observation
from ceilo_agent.sample import Resource

UUID = "762ccd4b-50b5-48ec-845e-7c4223071e14"
NOVA = "http://openstack.org/xmlns/libvirt/nova/1.1"
REPLY = {"state.state": 1, "state.reason": 1, "cpu.time": 5}

FLAVOR = """<nova:flavor name="m1.tiny"><nova:memory>512</nova:memory><nova:disk>3</nova:disk>
<nova:swap>0</nova:swap><nova:ephemeral>1</nova:ephemeral><nova:vcpus>2</nova:vcpus></nova:flavor>"""
OWNER = """<nova:owner><nova:user uuid="u-1">demo</nova:user>
<nova:project uuid="p-1">demo</nova:project></nova:owner>"""
ROOT = '<nova:root type="image" uuid="i-1"/>'
WHOLE = f"<nova:name>web-1</nova:name>{FLAVOR}{OWNER}{ROOT}"


def domain(instance: str | None, more: str = "", namespace: str = NOVA) -> str:
    metadata = ""
    if instance is not None:
        metadata = f'<nova:instance xmlns:nova="{namespace}">{instance}</nova:instance>'
    return f"""<domain type='qemu'><name>instance-1</name><uuid>{UUID}</uuid>{more}
<metadata>{metadata}</metadata><os><type arch='x86_64'>hvm</type></os><devices/></domain>"""


def resource(xml: str, server: Any = None) -> Resource:
    guest = Guest(UUID, None, 7, describe(xml), None, server=server)  # type: ignore[arg-type]
    return GuestResources(guest, "host-1", 1, 1, None).instance.resource


def observed(xml: str) -> list[Observation]:
    guest = Guest(UUID, None, 7, describe(xml), None)  # type: ignore[arg-type]
    inspector = LibvirtInspector(Context("host-1", {}))
    wanted = frozenset({"cpu.time", "disk.root.size", "disk.ephemeral.size"})
    return list(inspector.observe([Row(guest, dict(REPLY), 5.0)], wanted))


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_both_versions_of_the_format_are_read(version: str) -> None:
    namespace = f"http://openstack.org/xmlns/libvirt/nova/{version}"
    found = resource(domain(WHOLE, namespace=namespace))
    assert (found.project_id, found.user_id) == ("p-1", "u-1")
    metadata = found.metadata
    assert metadata["display_name"] == "web-1"
    assert metadata["image"] == {"id": "i-1"}
    assert metadata["flavor"] == {
        "id": "m1.tiny", "name": "m1.tiny", "vcpus": 2, "ram": 512, "disk": 3, "ephemeral": 1,
        "swap": 0,
    }  # fmt: skip
    assert metadata["root_gb"] == 2
    assert "image_meta" not in metadata


def test_the_newer_version_counts_where_both_are_there() -> None:
    old = '<old:instance xmlns:old="http://openstack.org/xmlns/libvirt/nova/1.0"><old:name>old'
    xml = domain(WHOLE).replace("<metadata>", f"<metadata>{old}</old:name></old:instance>")
    assert resource(xml).metadata["display_name"] == "web-1"


def test_id_and_extra_specs_of_a_flavor_are_taken_as_they_are_written() -> None:
    specs = """<nova:extraSpecs><nova:extraSpec name="hw:cpu_policy">dedicated</nova:extraSpec>
<nova:extraSpec name="trait:CUSTOM_A:B">required</nova:extraSpec>
<nova:extraSpec name="empty"/><nova:extraSpec>nameless</nova:extraSpec></nova:extraSpecs>"""
    flavor = FLAVOR.replace('name="m1.tiny"', 'name="m1.tiny" id="42"')
    flavor = flavor.replace("</nova:flavor>", f"{specs}</nova:flavor>")
    found = resource(domain(flavor)).metadata["flavor"]
    assert found["id"] == "42"
    assert found["extra_specs"] == {
        "hw:cpu_policy": "dedicated", "trait:CUSTOM_A:B": "required", "empty": None,
    }  # fmt: skip


def test_no_extra_specs_are_not_the_same_as_none_written() -> None:
    assert "extra_specs" not in resource(domain(FLAVOR)).metadata["flavor"]
    none = FLAVOR.replace("</nova:flavor>", "<nova:extraSpecs/></nova:flavor>")
    assert resource(domain(none)).metadata["flavor"]["extra_specs"] == {}


def test_an_instance_that_boots_from_a_volume_has_no_image() -> None:
    for root in ("", '<nova:root type="volume" uuid="v-1"/>'):
        metadata = resource(domain(f"{FLAVOR}{OWNER}{root}")).metadata
        assert metadata["image"] is metadata["image_ref"] is metadata["image_ref_url"] is None


def test_a_plain_domain_has_its_title_and_description_and_no_owner() -> None:
    found = resource(domain(None, "<title>The web</title><description>of Ann</description>"))
    assert (found.project_id, found.user_id) == (None, None)
    assert found.metadata["title"] == "The web"
    assert found.metadata["description"] == "of Ann"
    assert found.metadata["display_name"] == found.metadata["name"] == "instance-1"
    assert found.metadata["host"] == "host-1"
    assert not {"flavor", "image", "title:", "created_at"} & found.metadata.keys()


BROKEN = {
    "empty": "",
    "no owner": f"<nova:name>web-1</nova:name>{FLAVOR}{ROOT}",
    "owner without ids": f"{FLAVOR}<nova:owner><nova:user/><nova:project/></nova:owner>",
    "no flavor": f"<nova:name>web-1</nova:name>{OWNER}{ROOT}",
    "flavor without a name": WHOLE.replace(' name="m1.tiny"', ""),
    "empty flavor": f"<nova:flavor/>{OWNER}",
    "no name": f"{FLAVOR}{OWNER}",
    "numbers in words": WHOLE.replace(">512<", ">many<").replace(">3<", ">0x3<"),
    "negative number": WHOLE.replace(">3<", ">-3<"),
    "a number that no store takes": WHOLE.replace(">512<", f">{10**40}<"),
    "a number without end": WHOLE.replace(">512<", f">{'9' * 5000}<"),
    "root without an id": WHOLE.replace(' uuid="i-1"', ""),
    "properties without names": f"{WHOLE}<nova:image><nova:properties><nova:property>x"
    "</nova:property></nova:properties></nova:image>",
    "foreign elements": f'<x:y xmlns:x="urn:x"><nova:name>z</nova:name></x:y>{WHOLE}',
    "twice": WHOLE + WHOLE,
}


@pytest.mark.parametrize("instance", BROKEN.values(), ids=BROKEN.keys())
def test_broken_metadata_never_cost_a_guest_its_samples(instance: str) -> None:
    (found,) = observed(domain(instance))
    volumes = dict(zip((c.meter.name for c in found.columns), found.volumes, strict=True))
    assert volumes["cpu.time"] == 5
    metadata = found.resource.metadata
    assert metadata["display_name"] in {"web-1", "instance-1"}
    assert json.loads(json.dumps(metadata)) == metadata
    flat = [*metadata.values(), *metadata.get("flavor", {}).values()]
    assert all(isinstance(v, str | dict | None) or 0 <= v < 2**63 for v in flat)


def test_a_size_that_cannot_be_read_is_absent_and_not_zero() -> None:
    (found,) = observed(domain(BROKEN["numbers in words"]))
    metadata = found.resource.metadata
    assert not {"ram", "disk"} & metadata["flavor"].keys()
    assert not {"memory_mb", "disk_gb", "root_gb"} & metadata.keys()
    assert metadata["vcpus"] == 2
    volumes = dict(zip((c.meter.name for c in found.columns), found.volumes, strict=True))
    assert volumes["disk.root.size"] is None
    assert volumes["disk.ephemeral.size"] == 1


@pytest.mark.parametrize("namespace", ["urn:other", NOVA.replace("1.1", "9.9"), NOVA.upper()])
def test_metadata_of_others_are_not_taken_for_nova_s(namespace: str) -> None:
    described: Description = describe(domain(WHOLE, namespace=namespace))
    assert described.instance is None
    (found,) = observed(domain(WHOLE, namespace=namespace))
    assert found.resource.project_id is None
