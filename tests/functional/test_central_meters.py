# SPDX-License-Identifier: Apache-2.0
"""The central meters are Ceilometer's: its own pollsters read the same APIs, and say the same.

Keystone is real. The other services are a loopback server that answers as their APIs are documented
(tests/services/openstack_apis.py), with all that is odd in them; test_swift_glance.py has a real
Swift and a real Glance.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from ceilo_agent.meters.catalogue import catalogue
from ceilo_agent.publishers.gnocchi import fitting
from ceilo_agent.publishers.gnocchi.definitions import Definitions
from ceilo_agent.sample import UNTRACKED, Meter, Resource, Sample, SampleType
from tests.functional import agent, central
from tests.pages import ROOT
from tests.services import keystone, openstack_apis
from tests.services.openstack_apis import ALPHA, CATALOGUE, Apis

METERS: Final = 35


class Cloud:
    """A Keystone whose catalogue has all services, and a user of it."""

    def __init__(self, identity: keystone.Keystone, apis: Apis) -> None:
        self.keystone, self.apis = identity, apis
        body = {"project": {"name": "alpha", "domain_id": "default"}}
        apis.projects[identity.ask("POST", "/projects", body)["project"]["id"]] = ALPHA
        self.section = central.section(
            identity.create_user("agent", "agent-secret", "service", "admin")
        )
        for kind, (name, path) in CATALOGUE.items():
            identity.register(kind, name, apis.url + path)

    @property
    def options(self) -> str:
        """Options, the same for both agents."""
        return f"[rgw_admin_credentials]\naccess_key = key\nsecret_key = secret\n{self.section}"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with (
        keystone.running(tmp_path_factory.mktemp("keystone")) as identity,
        openstack_apis.running() as apis,
    ):
        yield Cloud(identity, apis)


@pytest.fixture(autouse=True)
def fresh(cloud: Cloud) -> None:
    cloud.apis.asked.clear()
    cloud.apis.broken.clear()


def test_every_central_meter_of_ceilometer_has_its_samples(cloud: Cloud, tmp_path: Path) -> None:
    ours = central.by_key(central.ours(cloud.options, tmp_path))
    answer = central.theirs(cloud.options, tmp_path)
    assert answer["faults"] == {}
    expected = central.by_key(answer["samples"])
    assert len({name for name, *_ in expected}) == METERS
    assert ours == expected


def test_gnocchi_takes_every_resource(cloud: Cloud, tmp_path: Path) -> None:
    types = Definitions.load(ROOT / "etc" / "gnocchi_resources.yaml")
    kinds = {entry.name: entry.kind for entry in catalogue("central").meters}
    seen = set()
    for sample in central.ours(cloud.options, tmp_path):
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
    central.poll(cloud.options, tmp_path)
    lists = [each for each in cloud.apis.asked if "get_pools" in each or "bucket" in each]
    assert len(lists) == len(set(lists))
    assert sum("get_pools" in each for each in lists) == 1


def test_a_service_that_fails_costs_only_its_own_samples(cloud: Cloud, tmp_path: Path) -> None:
    cloud.apis.broken |= {"/volume/v3/volumes/detail", "/dns/v2/zones"}
    done = central.poll(cloud.options, tmp_path, check=False)
    assert done.returncode == 1
    names = {sample["name"] for sample in json.loads(done.stdout)}
    assert {"volume.snapshot.size", "image.size", "storage.objects"} <= names
    assert not any(name == "volume.size" or name.startswith("dns.") for name in names)
    assert "volumes/detail" in done.stderr
    assert "it answers 500" in done.stderr


def test_without_keys_the_gateway_is_not_asked(cloud: Cloud, tmp_path: Path) -> None:
    samples = central.ours(cloud.section, tmp_path)
    assert not any(sample["name"].startswith("radosgw") for sample in samples)
    assert not any("/admin/" in each for each in cloud.apis.asked)


def test_a_service_that_is_not_in_the_catalogue_is_not_missed(cloud: Cloud, tmp_path: Path) -> None:
    services = cloud.keystone.ask("GET", "/services?type=dns")["services"]
    number = services[0]["id"]
    cloud.keystone.ask("PATCH", f"/services/{number}", {"service": {"enabled": False}})
    try:
        done = central.poll(cloud.options, tmp_path)
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
    away = cloud.options.replace(str(cloud.keystone.port), "1")
    config = agent.configure(tmp_path, "h", "central", away)
    done = agent.run("poll", "--once", config=config, check=False)
    assert done.returncode == 1
    assert "Keystone at http://127.0.0.1:1/v3: nobody answers there" in done.stderr
    assert "agent-secret" not in done.stderr
