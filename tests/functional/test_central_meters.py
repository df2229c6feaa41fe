# SPDX-License-Identifier: Apache-2.0
"""The central meters are Ceilometer's: its own pollsters read the same APIs, and say the same.

Keystone is real. The other services are a loopback server that answers as their APIs are documented
(tests/services/openstack_apis.py): none of them runs without a cloud behind it.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from ceilo_agent.meters.catalogue import catalogue
from ceilo_agent.publishers.gnocchi import fitting
from ceilo_agent.publishers.gnocchi.definitions import Definitions
from ceilo_agent.sample import UNTRACKED, Meter, Resource, Sample, SampleType
from tests.functional import agent
from tests.functional.conftest import lacking
from tests.functional.metadata import python_of_ceilometer
from tests.pages import ROOT
from tests.services import keystone, openstack_apis
from tests.services.errors import ServiceUnavailable
from tests.services.openstack_apis import ALPHA, CATALOGUE, Apis

SCRIPT: Final = Path(openstack_apis.__file__).with_name("ceilometer_central.py")

METERS: Final = 35

LEFT_OUT: Final = {("network.services.vpn.connections", "psk")}
"""Metadata that Ceilometer has and we have not: a secret of the connection."""


class Cloud:
    """A Keystone whose catalogue has all services, and a user of it."""

    def __init__(self, identity: keystone.Keystone, apis: Apis) -> None:
        self.keystone, self.apis = identity, apis
        body = {"project": {"name": "alpha", "domain_id": "default"}}
        apis.projects[identity.ask("POST", "/projects", body)["project"]["id"]] = ALPHA
        user = identity.create_user("agent", "agent-secret", "service", "admin")
        self.credentials = user | {"region_name": "RegionOne", "interface": "public"}
        for kind, (name, path) in CATALOGUE.items():
            identity.register(kind, name, apis.url + path)

    def options(self) -> str:
        """Return sections of options, the same for both agents."""
        lines = [f"{name} = {value}" for name, value in self.credentials.items()]
        keys = ["[rgw_admin_credentials]", "access_key = key", "secret_key = secret"]
        return "\n".join([*keys, "[service_credentials]", *lines, ""])


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    try:
        with (
            keystone.running(tmp_path_factory.mktemp("keystone")) as identity,
            openstack_apis.running() as apis,
        ):
            yield Cloud(identity, apis)
    except ServiceUnavailable as error:
        lacking(str(error))


@pytest.fixture(autouse=True)
def fresh(cloud: Cloud) -> None:
    cloud.apis.asked.clear()
    cloud.apis.broken.clear()


def poll(cloud: Cloud, directory: Path, *arguments: str, check: bool = True) -> Any:
    """Return what our agent reads, once."""
    config = agent.configure(directory, "h", "central", cloud.options())
    return agent.run("poll", "--once", "--output", "json", *arguments, config=config, check=check)


def theirs(cloud: Cloud, directory: Path) -> dict[str, Any]:
    """Return what Ceilometer's pollsters read."""
    config = directory / "ceilometer.conf"
    types = "[service_types]\nradosgw = object-store\ncinder = block-storage\n"
    config.write_text(f"[DEFAULT]\ntransport_url = fake://\n{types}{cloud.options()}")
    answer = directory / "theirs.json"
    command = [str(python_of_ceilometer()), "-P", str(SCRIPT), str(config), str(answer)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(answer.read_text())
    return found


def by_key(samples: list[dict[str, Any]]) -> dict[tuple[str, str, str], list[Any]]:
    """Return what two samples of the same thing must have in common.

    There is one of each, but for a bucket whose objects are of several categories.
    """
    found: dict[tuple[str, str, str], list[Any]] = {}
    for sample in samples:
        metadata = sample["resource_metadata"] or {}
        key = sample["name"], sample["resource_id"], metadata.get("alarm_state", "")
        said = [sample[name] for name in ("volume", "type", "unit", "project_id", "user_id")]
        known = {
            name: value
            for name, value in metadata.items()
            if value is not None and (sample["name"], name) not in LEFT_OUT
        }
        found.setdefault(key, []).append([*said, known])
    for each in found.values():
        each.sort(key=lambda said: said[0])
    return found


def test_every_central_meter_of_ceilometer_has_its_samples(cloud: Cloud, tmp_path: Path) -> None:
    ours = by_key(json.loads(poll(cloud, tmp_path).stdout))
    answer = theirs(cloud, tmp_path)
    assert answer["faults"] == {}
    expected = by_key(answer["samples"])
    assert len({name for name, *_ in expected}) == METERS
    assert ours == expected


def test_gnocchi_takes_every_resource(cloud: Cloud, tmp_path: Path) -> None:
    types = Definitions.load(ROOT / "etc" / "gnocchi_resources.yaml")
    kinds = {entry.name: entry.kind for entry in catalogue("central").meters}
    seen = set()
    for sample in json.loads(poll(cloud, tmp_path).stdout):
        kind = types.resource_types[kinds[sample["name"]]]
        owner = sample["project_id"], sample["user_id"]
        metadata = sample["resource_metadata"] or {}
        resource = Resource(sample["resource_id"], *owner, kind.name, metadata)
        meter = Meter(sample["name"], sample["unit"], SampleType(sample["type"]))
        attributes = kind.attributes(Sample(meter, resource, 0.0, 1, UNTRACKED, None, None))
        fitted = fitting.fit(kind.schema, attributes)
        assert (fitted.unknown, fitted.wrong) == ((), {}), sample
        assert fitting.lacking(kind.schema, fitted.values)[1] == [], sample
        seen.add(kind.name)
    assert seen == set(catalogue("central").kinds)


def test_one_request_serves_all_meters_that_it_can(cloud: Cloud, tmp_path: Path) -> None:
    poll(cloud, tmp_path)
    lists = [each for each in cloud.apis.asked if "get_pools" in each or "bucket" in each]
    assert len(lists) == len(set(lists))
    assert sum("get_pools" in each for each in lists) == 1


def test_a_service_that_fails_costs_only_its_own_samples(cloud: Cloud, tmp_path: Path) -> None:
    cloud.apis.broken |= {"/volume/v3/volumes/detail", "/dns/v2/zones"}
    done = poll(cloud, tmp_path, check=False)
    assert done.returncode == 1
    names = {sample["name"] for sample in json.loads(done.stdout)}
    assert {"volume.snapshot.size", "image.size", "storage.objects"} <= names
    assert not any(name == "volume.size" or name.startswith("dns.") for name in names)
    assert "volumes/detail" in done.stderr
    assert "it answers 500" in done.stderr


def test_without_keys_the_gateway_is_not_asked(cloud: Cloud, tmp_path: Path) -> None:
    options = cloud.options().split("[service_credentials]")[1]
    config = agent.configure(tmp_path, "h", "central", f"[service_credentials]{options}")
    samples = agent.poll(config=config)
    assert not any(sample["name"].startswith("radosgw") for sample in samples)
    assert not any("/admin/" in each for each in cloud.apis.asked)


def test_a_service_that_is_not_in_the_catalogue_is_not_missed(cloud: Cloud, tmp_path: Path) -> None:
    services = cloud.keystone.ask("GET", "/services?type=dns")["services"]
    number = services[0]["id"]
    cloud.keystone.ask("PATCH", f"/services/{number}", {"service": {"enabled": False}})
    try:
        done = poll(cloud, tmp_path)
    finally:
        cloud.keystone.ask("PATCH", f"/services/{number}", {"service": {"enabled": True}})
    assert done.stderr == ""
    assert not any(s["name"].startswith("dns") for s in json.loads(done.stdout))


def test_without_credentials_it_is_told_what_lacks(tmp_path: Path) -> None:
    config = agent.configure(tmp_path, "h", "central")
    done = agent.run("poll", "--once", config=config, check=False)
    assert done.returncode == 1
    assert "[service_credentials]" in done.stderr


def test_a_keystone_that_is_away_is_told(cloud: Cloud, tmp_path: Path) -> None:
    away = cloud.options().replace(str(cloud.keystone.port), "1")
    config = agent.configure(tmp_path, "h", "central", away)
    done = agent.run("poll", "--once", config=config, check=False)
    assert done.returncode == 1
    assert "Keystone at http://127.0.0.1:1/v3: nobody answers there" in done.stderr
    assert "agent-secret" not in done.stderr
