# SPDX-License-Identifier: Apache-2.0
"""Domains with Nova's metadata: what our samples say of them, and what Ceilometer's code does."""

import contextlib
import json
import subprocess
import uuid as uuids
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import libvirt

from ceilo_agent.discovery.libvirt.guest import Guest, describe
from ceilo_agent.inspection.libvirt.nova_metadata import OURS
from ceilo_agent.inspection.libvirt.resources import GuestResources
from ceilo_agent.sample import Resource
from tests.guests.nova import NovaFlavor, NovaImage, NovaInstance
from tests.services import nova, venvs

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
        [str(python), "-P", str(SCRIPT)],
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


def python_of_ceilometer() -> Path:
    """Return the Python of Ceilometer's environment."""
    return venvs.ensure("ceilometer", f"ceilometer=={CEILOMETER}") / "python"


@contextlib.contextmanager
def hypervisor_of_tests() -> Iterator[Any]:
    """libvirt's test driver, on which domains can be made; they end with the last connection."""
    handle = libvirt.open("test:///default")
    yield handle
    for domain in handle.listAllDomains():
        if domain.name() != "test":
            domain.destroy()
    handle.close()
