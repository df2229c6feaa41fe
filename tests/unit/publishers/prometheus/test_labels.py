# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from ceilo_agent.publishers.prometheus.labels import RESERVED, describe
from ceilo_agent.sample import Resource
from tests.unit.publishers.prometheus.guests import disk, guest, host, nic


@pytest.mark.parametrize(
    ("resource", "labels"),
    [
        (guest(), {"resource_id": "5a0e-1", "instance_id": "5a0e-1"}),
        (disk(), {"resource_id": "5a0e-1-vda", "instance_id": "5a0e-1", "device": "vda"}),
        (
            nic(),
            {
                "resource_id": "instance-00000001-5a0e-1-tap0",
                "instance_id": "5a0e-1",
                "device": "tap0",
            },
        ),
        (host(), {"resource_id": "kvm-1", "host": "kvm-1"}),
        (host("/dev/sda1"), {"resource_id": "kvm-1./dev/sda1", "host": "kvm-1",
                             "device": "/dev/sda1"}),
        (Resource("blue", "blue", None, "", {}), {"resource_id": "blue"}),
        (Resource("g", None, None, "instance", {}), {"resource_id": "g", "instance_id": "g"}),
        (Resource("nova-filter", None, None, "instance_network_interface",
                  {"instance_id": "g", "name": "tap7"}),
         {"resource_id": "nova-filter", "instance_id": "g", "device": "tap7"}),
        (Resource("kvm-1", None, None, "host", {}), {"resource_id": "kvm-1", "host": "kvm-1"}),
        (Resource("", None, None, "", {}), {}),
    ],
)  # fmt: skip
def test_labels_of_a_resource(resource: Resource, labels: dict[str, str]) -> None:
    found = describe(resource).labels
    assert dict(found) == labels
    assert list(found) == sorted(found)
    assert set(labels) <= RESERVED


def test_labels_do_not_follow_the_metadata() -> None:
    before = describe(guest())
    after = describe(guest(display_name="db", status="paused", flavor={"name": "huge"}))
    assert before.labels == after.labels
    assert before.info != after.info


def test_metadata_of_a_guest_and_of_its_disk_are_the_same() -> None:
    whole, part = describe(guest()).info, describe(disk()).info
    assert whole is not None
    assert part is not None
    assert whole.labels == part.labels
    assert (whole.whole, part.whole) == (True, False)
    assert dict(whole.labels) == {
        "resource_id": "5a0e-1",
        "instance_id": "5a0e-1",
        "name": "web-1",
        "project_id": "blue",
        "user_id": "anna",
        "flavor": "m1.small",
        "image_id": "image-1",
        "host": "kvm-1",
    }


def test_metadata_of_others() -> None:
    volume = Resource("v-1", "blue", None, "volume", {"display_name": "data"})
    info = describe(volume).info
    assert info is not None
    assert dict(info.labels) == {
        "resource_id": "v-1", "type": "volume", "name": "data", "project_id": "blue",
    }  # fmt: skip
    assert describe(Resource("x", None, None, "volume", {})).info is None
    machine = describe(host("sda")).info
    assert machine is not None
    assert dict(machine.labels) == {"resource_id": "kvm-1", "host": "kvm-1"}


def test_metadata_of_odd_types_are_left_out() -> None:
    odd = guest(display_name=["x"], flavor="m1", image=None, instance_host=7, image_ref=3)
    info = describe(odd).info
    assert info is not None
    assert set(dict(info.labels)) == {"resource_id", "instance_id", "project_id", "user_id"}


def test_what_is_no_text_is_replaced() -> None:
    found = describe(Resource("a\udc80b", None, None, "", {}))
    assert dict(found.labels) == {"resource_id": "a?b"}
