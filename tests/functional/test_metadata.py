# SPDX-License-Identifier: Apache-2.0
"""Samples' metadata beside those that Ceilometer's own code gives the same domains.

Domains are libvirt's: of its test driver, where each can have the XML of another release of Nova,
and a real guest of QEMU. Keystone is real. Nova is a loopback server that answers as its API is
documented (tests/services/nova.py says why).
"""

import json
import subprocess
import time
import uuid as uuids
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

import libvirt
import pytest

from ceilo_agent import options
from ceilo_agent.discovery.libvirt.domains import LibvirtDomains
from ceilo_agent.discovery.libvirt.guest import Guest, describe
from ceilo_agent.inspection.libvirt.nova_metadata import OURS
from ceilo_agent.inspection.libvirt.resources import GuestResources
from ceilo_agent.plugins import Context
from ceilo_agent.publishers.gnocchi.definitions import Definitions
from ceilo_agent.sample import Resource
from tests.functional import agent
from tests.functional.conftest import lacking
from tests.functional.cycles import Cycles
from tests.guests.errors import GuestsUnavailable
from tests.guests.fleet import fleet
from tests.guests.nova import NovaFlavor, NovaImage, NovaInstance
from tests.services import keystone, nova, venvs
from tests.services.errors import ServiceUnavailable

CEILOMETER = "27.0.0"
SCRIPT = Path(nova.__file__).with_name("ceilometer_metadata.py")
NAMESPACES = [f"http://openstack.org/xmlns/libvirt/nova/{version}" for version in ("1.1", "1.0")]
HOST = "compute-1"

OLD_FLAVOR = NovaFlavor(id=None, extra_specs=None, disk=5, ephemeral=2, swap=64)
SPECS = {"hw:cpu_policy": "dedicated", "trait:CUSTOM_A:B": "required", "empty": ""}
RELEASES = {
    "2025.2": NovaInstance(),
    "2025.1": NovaInstance(flavor=OLD_FLAVOR, image=None),
    "from a volume": NovaInstance(
        root_uuid=None, image=NovaImage(properties={"hw_a": "", "b": "c"})
    ),
    "extra specs": NovaInstance(flavor=NovaFlavor(extra_specs=SPECS), name="wéb <1> & 'more'"),
    "no extra specs": NovaInstance(flavor=NovaFlavor(extra_specs={})),
}


@pytest.fixture(scope="module")
def ceilometer() -> Path:
    """The Python of Ceilometer's environment."""
    try:
        return venvs.ensure("ceilometer", f"ceilometer=={CEILOMETER}") / "python"
    except ServiceUnavailable as error:
        lacking(str(error))
        raise


@pytest.fixture(scope="module")
def hypervisor() -> Iterator[Any]:
    """libvirt's test driver, on which domains can be made; they end with the last connection."""
    handle = libvirt.open("test:///default")
    yield handle
    for domain in handle.listAllDomains():
        if domain.name() != "test":
            domain.destroy()
    handle.close()


@pytest.fixture(scope="module")
def released(
    hypervisor: Any, ceilometer: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Any, dict[str, Any]]]:
    """Return a domain of each release, and what Ceilometer makes of it."""
    texts = {name: of_nova(instance) for name, instance in RELEASES.items()}
    texts["1.0"] = texts["2025.1"].replace(*NAMESPACES)
    assert NAMESPACES[1] in texts["1.0"]
    domains = {name: define(hypervisor, text) for name, text in texts.items()}
    domains["1.0"].suspend()
    found = theirs(ceilometer, list(domains.values()), tmp_path_factory.mktemp("ceilometer"))
    return {name: (domain, found[domain.UUIDString()]) for name, domain in domains.items()}


def define(hypervisor: Any, metadata: str, more: str = "") -> Any:
    """Run a domain with these metadata."""
    uuid = str(uuids.uuid4())
    return hypervisor.createXML(
        f"<domain type='test'><name>instance-{uuid[:8]}</name><uuid>{uuid}</uuid>{more}"
        f"<metadata>{metadata}</metadata><memory>4096</memory>"
        "<os><type arch='x86_64'>hvm</type></os></domain>"
    )


def of_nova(instance: NovaInstance) -> str:
    return ET.tostring(instance.element(()), encoding="unicode")


def recorded(domain: Any) -> dict[str, Any]:
    """Return what libvirt tells of a domain, for Ceilometer."""
    found: dict[str, str | None] = {}
    for namespace in NAMESPACES:
        try:
            found[namespace] = domain.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, namespace)
        except libvirt.libvirtError:
            found[namespace] = None
    return {
        "uuid": domain.UUIDString(),
        "name": domain.name(),
        "xml": domain.XMLDesc(),
        "state": domain.state()[0],
        "metadata": found,
    }


def theirs(
    python: Path, domains: list[Any], directory: Path, configured: str = ""
) -> dict[str, dict[str, Any]]:
    """Return what Ceilometer makes of the domains, by id."""
    conf = directory / "ceilometer.conf"
    conf.write_text(f"[DEFAULT]\nhost = {HOST}\n{configured}")
    asked = {
        "options": str(conf),
        "nova": bool(configured),
        "domains": [recorded(domain) for domain in domains],
    }
    done = subprocess.run(
        [str(python), str(SCRIPT)],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, Any]] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def ours(domain: Any) -> Resource:
    """Return the resource that our samples of a domain have."""
    described = describe(domain.XMLDesc())
    guest = Guest(domain.UUIDString(), domain, domain.ID(), described, None)  # type: ignore[arg-type]
    return GuestResources(guest, HOST, *domain.state(), None).instance.resource


def assert_same(resource: Resource, other: dict[str, Any], more: frozenset[str] = OURS) -> None:
    """Hold our resource against Ceilometer's sample: nothing else but what is known to be ours."""
    shown = {name: value for name, value in resource.metadata.items() if name not in more}
    assert shown == other["metadata"]
    assert resource.id == other["resource_id"]
    assert resource.project_id == other["project_id"]
    assert resource.user_id == other["user_id"]


@pytest.mark.parametrize("release", [*RELEASES, "1.0"])
def test_metadata_are_those_of_ceilometer(
    release: str, released: dict[str, tuple[Any, dict[str, Any]]]
) -> None:
    domain, other = released[release]
    assert_same(ours(domain), other)


def test_the_comparison_sees_states_images_and_specs(
    released: dict[str, tuple[Any, dict[str, Any]]],
) -> None:
    """What is compared is there at all."""
    shown = {name: other["metadata"] for name, (_, other) in released.items()}
    assert shown["1.0"]["state"] == "paused"
    assert shown["2025.2"]["image_meta"]["container_format"] == "bare"
    assert shown["2025.1"]["image_ref"]
    assert "image_meta" not in shown["2025.1"]
    assert shown["from a volume"]["image"] is None
    assert shown["extra specs"]["flavor"]["extra_specs"]["trait:CUSTOM_A:B"] == "required"
    assert shown["no extra specs"]["flavor"]["extra_specs"] == {}


def test_who_lacks_an_owner_or_nova_s_metadata_has_samples_here_and_none_there(
    hypervisor: Any, ceilometer: Path, tmp_path: Path
) -> None:
    whole = of_nova(RELEASES["2025.2"])
    start, end = whole.index("<nova:owner>"), whole.index("</nova:owner>") + len("</nova:owner>")
    foreign = '<x:instance xmlns:x="urn:x"><x:flavor name="f"/></x:instance>'
    without = [
        define(hypervisor, whole[:start] + whole[end:]),
        define(
            hypervisor, foreign, f"<title>{escape('A & B')}</title><description>d</description>"
        ),
    ]
    assert theirs(ceilometer, without, tmp_path) == {}
    ownerless, plain = map(ours, without)
    assert ownerless.metadata["display_name"] == "test-server"
    assert ownerless.metadata["flavor"]["id"] == "1"
    assert (plain.metadata["title"], plain.metadata["description"]) == ("A & B", "d")
    assert plain.metadata["display_name"] == without[1].name()


def test_gnocchi_s_resource_type_is_filled(hypervisor: Any) -> None:
    """Every attribute that is required, and all that the XML can tell."""
    resource = ours(define(hypervisor, of_nova(RELEASES["2025.2"])))
    kind = Definitions.load(None).resource_types["instance"]
    required = {name for name, schema in kind.schema.items() if schema["required"]}
    metadata = resource.metadata
    told = {
        "host": metadata["instance_host"],
        "image_ref": metadata["image_ref"],
        "display_name": metadata["display_name"],
        "flavor_id": metadata["flavor"]["id"],
        "flavor_name": metadata["instance_type"],
        "created_at": metadata["created_at"],
    }
    assert required <= told.keys() <= kind.schema.keys()
    assert all(told.values())


def test_a_real_guest_s_samples_have_ceilometer_s_metadata(
    ceilometer: Path, tmp_path: Path
) -> None:
    config = tmp_path / "agent.conf"
    config.write_text(f"[DEFAULT]\nhost = {HOST}\n[libvirt]\nuri = qemu:///system\n")
    try:
        with fleet(bare=1, prefix="ceilo-meta-") as (guest,), guest.domain() as domain:
            samples = agent.poll("--meter", "power.state", config=config)
            found = theirs(ceilometer, [domain], tmp_path)[guest.uuid]
    except GuestsUnavailable as error:
        lacking(str(error))
    (sample,) = [each for each in samples if each["resource_id"] == guest.uuid]
    shown = {k: v for k, v in sample["resource_metadata"].items() if k not in OURS}
    assert shown == found["metadata"]
    assert (sample["project_id"], sample["user_id"]) == (found["project_id"], found["user_id"])


# -- what only Nova's API knows ------------------------------------------------------------------


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
    try:
        with keystone.running(tmp_path_factory.mktemp("keystone")) as identity:
            compute = nova.Nova(identity.url)
            identity.register("compute", "nova", compute.url)
            yield Cloud(identity, compute)
            compute.edge.stop()
    except ServiceUnavailable as error:
        lacking(str(error))


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


def test_a_nova_that_hangs_or_is_down_costs_no_cycle_anything(
    cloud: Cloud, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    try:
        with fleet(bare=1, prefix="ceilo-meta-") as (guest,):
            cloud.nova.add(on_host(guest.uuid))
            cloud.nova.edge.script(nova.faulty.hang)
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
    except GuestsUnavailable as error:
        lacking(str(error))
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
            {"auth_url": f"http://127.0.0.1:{nova.faulty.closed_port()}/v3"},
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
