"""The metadata Nova writes into its domains, in the words of Nova 2025.2 and later."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass, field

NAMESPACE = "http://openstack.org/xmlns/libvirt/nova/1.1"


@dataclass(frozen=True)
class NovaFlavor:
    """A flavor; without `id` and `extra_specs` (None) as Nova wrote it before 2025.2."""

    name: str = "m1.tiny"
    memory: int = 512
    disk: int = 1
    swap: int = 0
    ephemeral: int = 0
    vcpus: int = 1
    id: str | None = "1"
    extra_specs: Mapping[str, str] | None = field(
        default_factory=lambda: {"hw_rng:allowed": "True"}
    )


@dataclass(frozen=True)
class NovaImage:
    """The image an instance was made of, written by Nova since 2025.2."""

    uuid: str = "7a5b6f7e-6f0d-4b8b-9d1c-0e4f3b6f2a11"
    container_format: str = "bare"
    disk_format: str = "qcow2"
    min_disk: int = 1
    min_ram: int = 0
    properties: Mapping[str, str] = field(default_factory=lambda: {"hw_machine_type": "pc"})


@dataclass(frozen=True)
class NovaInstance:
    """What Nova says of one instance; `ports` are the addresses of its NICs, in order."""

    name: str = "test-server"
    creation_time: str = "2026-01-02 03:04:05"
    flavor: NovaFlavor = field(default_factory=NovaFlavor)
    image: NovaImage | None = field(default_factory=NovaImage)
    # None: started from a volume, without an image.
    root_uuid: str | None = "7a5b6f7e-6f0d-4b8b-9d1c-0e4f3b6f2a11"
    user_uuid: str = "702a1c7f8fe94a6f9d1b0c9d3f4e5a6b"
    user_name: str = "demo"
    project_uuid: str = "38bd8e984a3e435a87e950a441ee55aa"
    project_name: str = "demo"
    ports: tuple[str, ...] = ("10.0.0.11",)
    package: str = "33.1.0"

    def element(self, port_ids: tuple[str, ...]) -> ET.Element:
        """The <nova:instance> element; `port_ids` are those of the NICs."""
        root = ET.Element("nova:instance", {"xmlns:nova": NAMESPACE})
        _add(root, "package", version=self.package)
        _add(root, "name", self.name)
        _add(root, "creationTime", self.creation_time)
        self._add_flavor(root)
        self._add_image(root)
        owner = _add(root, "owner")
        _add(owner, "user", self.user_name, uuid=self.user_uuid)
        _add(owner, "project", self.project_name, uuid=self.project_uuid)
        if self.root_uuid is not None:
            _add(root, "root", type="image", uuid=self.root_uuid)
        ports = _add(root, "ports")
        for number, port_id in enumerate(port_ids):
            port = _add(ports, "port", uuid=port_id)
            if number < len(self.ports):
                _add(port, "ip", type="fixed", address=self.ports[number], ipVersion="4")
        return root

    def _add_flavor(self, root: ET.Element) -> None:
        flavor = self.flavor
        element = _add(root, "flavor", name=flavor.name)
        if flavor.id is not None:
            element.set("id", flavor.id)
        for key in ("memory", "disk", "swap", "ephemeral", "vcpus"):
            _add(element, key, str(getattr(flavor, key)))
        if flavor.extra_specs is not None:
            specs = _add(element, "extraSpecs")
            for key, value in flavor.extra_specs.items():
                _add(specs, "extraSpec", value, name=key)

    def _add_image(self, root: ET.Element) -> None:
        if self.image is None:
            return
        element = _add(root, "image", uuid=self.image.uuid)
        _add(element, "containerFormat", self.image.container_format)
        _add(element, "diskFormat", self.image.disk_format)
        _add(element, "minDisk", str(self.image.min_disk))
        _add(element, "minRam", str(self.image.min_ram))
        properties = _add(element, "properties")
        for key, value in self.image.properties.items():
            _add(properties, "property", value, name=key)


def _add(parent: ET.Element, tag: str, text: str | None = None, /, **attributes: str) -> ET.Element:
    element = ET.SubElement(parent, f"nova:{tag}", attributes)
    element.text = text
    return element
