# SPDX-License-Identifier: Apache-2.0
"""What only Nova's API knows of instances, in samples.

Keystone is real, and so are guests. Nova is a loopback server that answers as its API is documented
(tests/services/nova.py says why).
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ceilo_agent import options
from ceilo_agent.discovery.libvirt.domains import LibvirtDomains
from ceilo_agent.discovery.libvirt.guest import Guest
from ceilo_agent.inspection.libvirt.nova_metadata import OURS
from ceilo_agent.inspection.libvirt.resources import GuestResources
from ceilo_agent.plugins import Context
from ceilo_agent.sample import Resource
from tests.functional import agent
from tests.functional.cycles import Cycles
from tests.functional.metadata import (
    HOST,
    RELEASES,
    assert_same,
    define,
    hypervisor_of_tests,
    of_nova,
    python_of_ceilometer,
    theirs,
)
from tests.guests.fleet import fleet
from tests.services import faulty, keystone, nova


@pytest.fixture(scope="module")
def ceilometer() -> Path:
    return python_of_ceilometer()


@pytest.fixture(scope="module")
def hypervisor() -> Iterator[Any]:
    with hypervisor_of_tests() as handle:
        yield handle


class Cloud:
    """A Keystone whose catalogue has a Nova, and the credentials of a user."""

    def __init__(self, identity: keystone.Keystone, compute: nova.Nova) -> None:
        self.keystone = identity
        self.nova = compute
        self.credentials = identity.create_user("agent", "agent-secret", "service", "admin")

    def options(self, **changes: str) -> str:
        """Return a section of credentials."""
        values = self.credentials | {"region_name": "RegionOne"} | changes
        lines = [f"{name} = {value}" for name, value in values.items()]
        return "\n".join(["[service_credentials]", *lines, ""])


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with keystone.running(tmp_path_factory.mktemp("keystone")) as identity:
        compute = nova.Nova(identity.url)
        identity.register("compute", "nova", compute.url)
        yield Cloud(identity, compute)
        compute.edge.stop()


@pytest.fixture(autouse=True)
def fresh(request: pytest.FixtureRequest) -> None:
    if "cloud" in request.fixturenames:
        cloud: Cloud = request.getfixturevalue("cloud")
        cloud.nova.servers.clear()
        cloud.nova.asked.clear()
        cloud.nova.edge.requests.clear()
        cloud.nova.page = 1000


def context(cloud: Cloud, directory: Path, uri: str = "test:///default", **changes: str) -> Context:
    config = directory / "agent.conf"
    config.write_text(
        f"[DEFAULT]\nhost = {HOST}\n[compute]\nfetch_extra_metadata = true\n"
        f"extra_metadata_interval = 10\n[libvirt]\nuri = {uri}\n{cloud.options(**changes)}"
    )
    return Context(HOST, options.values(options.parse([str(config)])))


def enriched(made: Context, uuid: str) -> Resource:
    """Return the resource of a domain once Nova has told of it."""
    discovery = LibvirtDomains(made)
    try:

        def told() -> Guest | None:
            listed = discovery.discover(time.monotonic() + 5).targets
            (guest,) = [target.handle for target in listed if target.id == uuid]
            return guest if guest.server is not None else None

        guest = agent.wait_until(told)
        domain = guest.domain
        return GuestResources(guest, HOST, *domain.state(), None).instance.resource
    finally:
        discovery.close()


def on_host(uuid: str, **changes: Any) -> dict[str, Any]:
    return nova.server(uuid, **{"OS-EXT-SRV-ATTR:host": HOST, **changes})


def test_with_nova_metadata_are_still_those_of_ceilometer(
    cloud: Cloud, hypervisor: Any, ceilometer: Path, tmp_path: Path
) -> None:
    """Both ask the same Nova, with a token of the same Keystone; Ceilometer once per server."""
    own = {"metering.server_group": "g-1", "metering.name": "hidden", "metering.a.b": "c" * 300,
           "other": "x"}  # fmt: skip
    domain = define(hypervisor, of_nova(RELEASES["2025.1"]))
    uuid = domain.UUIDString()
    cloud.nova.add(on_host(uuid, metadata=own))
    configured = f"[compute]\nfetch_extra_metadata = true\n{cloud.options()}"
    other = theirs(ceilometer, [domain], tmp_path, configured)[uuid]
    assert other["metadata"]["flavor"]["id"] == "42"
    resource = enriched(context(cloud, tmp_path), uuid)
    more = OURS | {"OS-EXT-AZ:availability_zone", "launched_at"}
    assert_same(resource, other, more)
    assert resource.metadata["user_metadata"] == {"server_group": "g-1", "a_b": "c" * 256}
    assert resource.metadata["OS-EXT-AZ:availability_zone"] == "nova"


def test_one_request_lists_a_host_and_pages_are_followed(
    cloud: Cloud, hypervisor: Any, tmp_path: Path
) -> None:
    domain = define(hypervisor, of_nova(RELEASES["2025.2"]))
    uuid = domain.UUIDString()
    cloud.nova.add(on_host(uuid))
    enriched(context(cloud, tmp_path), uuid)
    assert cloud.nova.asked == [{"host": HOST, "all_tenants": "1"}]

    for number in range(4):
        cloud.nova.add(on_host(f"00000000-0000-0000-0000-00000000000{number}"))
    cloud.nova.asked.clear()
    cloud.nova.page = 2
    enriched(context(cloud, tmp_path), uuid)
    markers = [query.get("marker", "")[-1:] for query in cloud.nova.asked]
    assert markers == ["", "1", "3"]


def test_samples_of_the_agent_get_what_nova_told(cloud: Cloud, tmp_path: Path) -> None:
    output = tmp_path / "samples.json"
    (tmp_path / "pipeline.yaml").write_text(
        json.dumps(
            {
                "sources": [
                    {"name": "s", "interval": 1, "meters": ["power.state"], "sinks": ["file"]}
                ],
                "sinks": [{"name": "file", "publishers": [f"file://{output}"]}],
            }
        )
    )
    with fleet(bare=1, prefix="ceilo-meta-") as (guest,):
        cloud.nova.add(on_host(guest.uuid, metadata={"metering.server_group": "g-1"}))
        context(cloud, tmp_path, "qemu:///system")
        config = tmp_path / "agent.conf"
        own = f"host = {HOST}\nstate_path = {tmp_path}\n"
        own += f"pipeline_cfg_file = {tmp_path}/pipeline.yaml\n"
        config.write_text(config.read_text().replace(f"host = {HOST}\n", own))

        def seen() -> list[dict[str, Any]]:
            samples = agent.lines(output)
            return [s["resource_metadata"] for s in samples if s["resource_id"] == guest.uuid]

        arguments = ("polling", "--namespaces", "compute")
        with agent.running(*arguments, config=config, log=tmp_path / "log"):
            agent.wait_until(lambda: any("user_metadata" in each for each in seen()))
    told = seen()[-1]
    assert told["user_metadata"] == {"server_group": "g-1"}
    assert told["launched_at"] == "2013-09-23T13:53:12.774549"


def test_a_nova_that_hangs_or_is_down_costs_no_cycle_anything(
    cloud: Cloud, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with fleet(bare=1, prefix="ceilo-meta-") as (guest,):
        cloud.nova.add(on_host(guest.uuid))
        cloud.nova.edge.script(faulty.hang)
        made = context(cloud, tmp_path, "qemu:///system")
        configured = {k: v for k, v in made.options.items() if "service_cred" in k and v}
        cycles = Cycles([guest], **configured, **{"compute.fetch_extra_metadata": True})
        alone = Cycles([guest])

        def meters(of: Cycles) -> set[str]:
            seen = of.poll().get(guest.uuid, {})
            return {name for samples in seen.values() for name in samples}

        try:
            # A libvirtd that was just started tells CPU times only after a while.
            agent.wait_until(lambda: "cpu.time" in meters(alone))
            first = meters(cycles)
            agent.wait_until(lambda: cloud.nova.edge.requests)
            assert first <= meters(alone)
            assert "cpu.time" in first
            assert meters(cycles) == meters(alone)
            (request,) = cloud.nova.edge.requests
            assert request.status is None, "Nova hangs still"
        finally:
            alone.lane.close()
            cycles.lane.close()
    assert "Nova" not in caplog.text


def test_faults_of_keystone_and_nova_are_told_in_words(
    cloud: Cloud, hypervisor: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    weak = cloud.keystone.create_user("weak", "weak-secret", "elsewhere", "reader")
    cases = [
        ({"password": "wrong"}, f"Keystone at {cloud.keystone.url}: "),
        ({"region_name": "Mars"}, "endpoint for compute service in Mars region not found"),
        (weak, "/v2.1/servers/detail answers 403; listing a host's servers takes the role"),
        (
            {"auth_url": f"http://127.0.0.1:{faulty.closed_port()}/v3"},
            ": nobody answers there",
        ),
    ]
    for changes, words in cases:
        caplog.clear()
        discovery = LibvirtDomains(context(cloud, tmp_path, **changes))
        assert discovery.discover(time.monotonic() + 5).targets
        agent.wait_until(lambda: caplog.records)
        discovery.close()
        (told,) = [record for record in caplog.records if record.name.startswith("ceilo_agent")]
        assert words in told.message
        assert "secret" not in told.message
