# SPDX-License-Identifier: Apache-2.0
"""Objects of a real Swift and images of a real Glance, read by us and by Ceilometer's pollsters."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.functional import central
from tests.services import glance, keystone, swift


class Cloud(NamedTuple):
    """Services, the options of who asks them and of who may not ask Swift, and two projects."""

    swift: swift.Swift
    glance: glance.Glance
    options: str
    of_another: str
    projects: tuple[str, str]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with keystone.running(tmp_path_factory.mktemp("keystone")) as identity:
        bodies = [{"project": {"name": name, "domain_id": "default"}} for name in ("one", "two")]
        one, two = (identity.ask("POST", "/projects", body)["project"]["id"] for body in bodies)
        user = identity.create_user("agent", "agent-secret", "service", "admin")
        identity.grant("agent", "service", swift.RESELLER)
        other = identity.create_user("other", "other-secret", "service", "admin")
        with (
            swift.running(tmp_path_factory.mktemp("swift"), identity) as objects,
            glance.running(tmp_path_factory.mktemp("glance"), identity) as images,
        ):
            objects.store(
                one, {"a": {"x": b"1" * 10, "y": b"2" * 2000}, "b": {}, "ü %": {"z": b"3"}}
            )
            images.create("debian", b"x" * 1234, visibility="public", tags=["a", "b"])
            images.create("own", b"y" * 99, owner=two, protected=True, min_ram=512)
            yield Cloud(objects, images, central.section(user), central.section(other), (one, two))


def test_what_swift_and_glance_have_is_what_ceilometer_reads(cloud: Cloud, tmp_path: Path) -> None:
    samples = central.ours(cloud.options, tmp_path)
    answer = central.theirs(cloud.options, tmp_path)
    # It asks for a gateway's users with keys that nobody gave.
    assert {name.partition(".")[0] for name in answer["faults"]} <= {"radosgw"}
    found = central.by_key(samples)
    assert found == central.by_key(answer["samples"])
    volumes = {key[:2]: said[0][0] for key, said in found.items()}
    one, two = cloud.projects
    assert volumes["storage.objects", one] == 3
    assert volumes["storage.objects.size", one] == 2011
    assert volumes["storage.objects.containers", one] == 3
    assert volumes["storage.containers.objects.size", f"{one}/a"] == 2010
    assert volumes["storage.objects", two] == 0
    sizes = sorted(volume for (name, _), volume in volumes.items() if name == "image.size")
    assert sizes == [99, 1234]


def test_who_is_no_reseller_is_told_that_swift_refuses(cloud: Cloud, tmp_path: Path) -> None:
    done = central.poll(cloud.of_another, tmp_path, check=False)
    assert done.returncode == 1
    assert "it answers 403" in done.stderr
    names = {key[0] for key in central.by_key(json.loads(done.stdout))}
    assert "image.size" in names


def test_one_service_that_is_away_costs_only_its_own_and_returns(
    cloud: Cloud, tmp_path: Path
) -> None:
    whole = central.by_key(central.ours(cloud.options, tmp_path))
    cloud.swift.stop()
    try:
        done = central.poll(cloud.options, tmp_path, check=False)
    finally:
        cloud.swift.start()
    assert done.returncode == 1
    assert "nobody is there" in done.stderr
    names = {key[0] for key in central.by_key(json.loads(done.stdout))}
    assert names == {"image.size"}
    assert central.by_key(central.ours(cloud.options, tmp_path)) == whole
