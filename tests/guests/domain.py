"""The XML of a guest's domain."""

from __future__ import annotations

import hashlib
import uuid
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from pathlib import Path

from tests.guests.nova import NovaInstance

BARE_MIB = 16
BOOTED_MIB = 160
# Without hardware's help a boot is slow: leave out what only takes time.
_CMDLINE = (
    "console=ttyS0 quiet panic=-1 mitigations=off nokaslr lsm= cryptomgr.notests "
    "integrity_audit=0 audit=0 8250.nr_uarts=1 tsc=unstable no_timer_check"
)


@dataclass(frozen=True)
class Boot:
    """What a guest boots, and the file its console is written to."""

    kernel: Path
    initramfs: Path
    console: Path


@dataclass(frozen=True)
class Nic:
    """A NIC: Nova's port id names its tap, and `net` numbers its subnet of four addresses."""

    net: int
    port_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def tap(self) -> str:
        """The tap's name, as Nova makes it."""
        return f"tap{self.port_id}"[:14]

    @property
    def mac(self) -> str:
        """An address in the range that Neutron uses."""
        digest = hashlib.sha256(self.port_id.encode()).hexdigest()
        return ":".join(["fa", "16", "3e", digest[0:2], digest[2:4], digest[4:6]])

    def address(self, host: int) -> str:
        """An address of the subnet: 1 the host, 2 the guest.

        They are of 198.18.0.0/15, set aside for tests of networks: nothing real is hidden.
        """
        number = (198 << 24) + (18 << 16) + self.net % 32768 * 4 + host
        return ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))


@dataclass(frozen=True)
class Domain:
    """A guest: bare (it only halts in its BIOS) or, with `boot`, a small Linux."""

    name: str
    disk: Path
    nics: tuple[Nic, ...]
    boot: Boot | None = None
    vcpus: int = 1
    iothreads: int = 0
    nova: NovaInstance | None = None
    title: str | None = None
    description: str | None = None
    emulator: Path | None = None
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))

    def xml(self) -> str:
        """The domain's XML."""
        root = ET.Element("domain", type="qemu")
        _add(root, "name", self.name)
        _add(root, "uuid", self.uuid)
        if self.title is not None:
            _add(root, "title", self.title)
        if self.description is not None:
            _add(root, "description", self.description)
        if self.nova is not None:
            ports = tuple(nic.port_id for nic in self.nics)
            _add(root, "metadata").append(self.nova.element(ports))
        _add(root, "memory", str(BOOTED_MIB if self.boot else BARE_MIB), unit="MiB")
        _add(root, "vcpu", str(self.vcpus))
        if self.iothreads:
            _add(root, "iothreads", str(self.iothreads))
        self._add_os(root)
        _add(_add(root, "features"), "acpi")
        devices = _add(root, "devices")
        if self.emulator is not None:
            _add(devices, "emulator", str(self.emulator))
        # Without USB an idle guest takes less of the host.
        _add(devices, "controller", type="usb", model="none")
        self._add_disks(devices)
        for nic in self.nics:
            _add_nic(devices, nic)
        if self.boot is not None:
            _add(_add(devices, "serial", type="file"), "source", path=str(self.boot.console))
        balloon = _add(devices, "memballoon", model="virtio")
        _add(balloon, "stats", period="1" if self.boot else "10")
        return ET.tostring(root, encoding="unicode")

    def _add_os(self, root: ET.Element) -> None:
        os = _add(root, "os")
        _add(os, "type", "hvm", arch="x86_64", machine="pc")
        if self.boot is not None:
            nets = ",".join(f"{nic.address(2)}/{nic.address(1)}" for nic in self.nics)
            _add(os, "kernel", str(self.boot.kernel))
            _add(os, "initrd", str(self.boot.initramfs))
            _add(os, "cmdline", f"{_CMDLINE} guest_net={nets}")

    def _add_disks(self, devices: ET.Element) -> None:
        disk = _add(devices, "disk", type="file", device="disk")
        driver = _add(disk, "driver", name="qemu", type="qcow2")
        if self.iothreads:
            driver.set("iothread", "1")
        _add(disk, "source", file=str(self.disk))
        _add(disk, "target", dev="vda", bus="virtio")
        if self.boot is not None:
            empty = _add(devices, "disk", type="file", device="cdrom")
            _add(empty, "target", dev="hda", bus="ide")
            _add(empty, "readonly")


def _add_nic(devices: ET.Element, nic: Nic) -> None:
    interface = _add(devices, "interface", type="ethernet")
    _add(interface, "mac", address=nic.mac)
    _add(_add(interface, "source"), "ip", address=nic.address(1), family="ipv4", prefix="30")
    _add(interface, "target", dev=nic.tap)
    _add(interface, "model", type="virtio")


def _add(parent: ET.Element, tag: str, text: str | None = None, /, **attributes: str) -> ET.Element:
    element = ET.SubElement(parent, tag, attributes)
    element.text = text
    return element
