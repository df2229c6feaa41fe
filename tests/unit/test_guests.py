"""The parts of the guests' tool that need no libvirtd."""

from __future__ import annotations

import gzip
import subprocess
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("libvirt")

from tests.guests import __main__ as command
from tests.guests import daemon, emulator, initramfs, kernel
from tests.guests.domain import Boot, Domain, Nic
from tests.guests.errors import GuestsUnavailable
from tests.guests.nova import NAMESPACE, NovaFlavor, NovaInstance
from tests.guests.paths import cache_dir, locked


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    # pytest's own folders are closed to other users.
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        Path(name).chmod(0o755)
        monkeypatch.setenv("CEILO_GUESTS_DIR", name)
        yield Path(name)


def entries(archive: bytes) -> dict[str, tuple[int, bytes]]:
    """Read a cpio archive of the newc format."""
    found: dict[str, tuple[int, bytes]] = {}
    offset = 0
    while True:
        assert archive[offset : offset + 6] == b"070701"
        fields = [int(archive[offset + 6 + 8 * n : offset + 14 + 8 * n], 16) for n in range(13)]
        mode, size, name_size = fields[1], fields[6], fields[11]
        start = offset + 110
        name = archive[start : start + name_size - 1].decode()
        data = start + name_size + -(start + name_size) % 4
        if name == "TRAILER!!!":
            return found
        found[name] = (mode, archive[data : data + size])
        offset = data + size + -(data + size) % 4


def test_archive_reads_back() -> None:
    archive = initramfs.Archive()
    archive.add("bin", 0o040755)
    archive.add("bin/a", 0o100755, b"12345")
    archive.add("bin/sh", 0o120777, b"a")
    assert entries(archive.finish()) == {
        "bin": (0o040755, b""),
        "bin/a": (0o100755, b"12345"),
        "bin/sh": (0o120777, b"a"),
    }


def test_initramfs_holds_modules_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    busybox = tmp_path / "busybox"
    busybox.write_bytes(b"static")
    monkeypatch.setattr(initramfs, "_busybox", lambda: busybox)
    modules = tuple(tmp_path / name for name in ("b.ko", "a.ko"))
    for module in modules:
        module.write_bytes(module.name.encode())
    path = initramfs.initramfs(kernel.Kernel(tmp_path / "vmlinuz", modules))
    found = entries(gzip.decompress(path.read_bytes()))
    assert found["modules/order"][1] == b"b.ko\na.ko"
    assert found["modules/a.ko"][1] == b"a.ko"
    assert found["init"][1].startswith(b"#!/bin/sh\n")
    assert found["bin/sh"] == (0o120777, b"busybox")
    before = path.stat().st_mtime_ns
    assert initramfs.initramfs(kernel.Kernel(tmp_path / "vmlinuz", modules)) == path
    assert path.stat().st_mtime_ns == before


def test_init_is_a_valid_script() -> None:
    script = Path(initramfs.__file__).with_name("init.sh")
    subprocess.run(["sh", "-n", str(script)], check=True)


def elf(*segments: int) -> bytes:
    header = b"\x7fELF\x02".ljust(32, b"\0") + (64).to_bytes(8, "little")
    header = header.ljust(54, b"\0") + (56).to_bytes(2, "little")
    header += len(segments).to_bytes(2, "little")
    return header.ljust(64, b"\0") + b"".join(
        kind.to_bytes(4, "little").ljust(56, b"\0") for kind in segments
    )


def test_static_binaries_are_told_apart() -> None:
    assert initramfs.is_static(elf(1, 1))
    assert not initramfs.is_static(elf(1, 3))
    assert not initramfs.is_static(b"#!/bin/sh\n")


def test_modules_come_after_those_they_need(tmp_path: Path) -> None:
    folder = tmp_path / "root/usr/lib/modules/6.1/kernel/drivers"
    folder.mkdir(parents=True)
    (tmp_path / "root/boot").mkdir()
    (tmp_path / "root/boot/vmlinuz-6.1").write_bytes(b"kernel")
    needs = {
        "virtio_pci": "virtio_ring,virtio",
        "virtio": "virtio_ring",
        "virtio_ring": "",
        "virtio_blk": "virtio",
        "virtio_net": "net-failover",
        "net-failover": "",
    }
    for name, needed in needs.items():
        content = b"\0license=GPL\0depends=" + needed.encode() + b"\0vermagic=x\0"
        (folder / f"{name}.ko").write_bytes(content)
    builtin = folder.parents[1] / "modules.builtin"
    builtin.write_text("kernel/drivers/virtio/virtio_balloon.ko\n")
    target = tmp_path / "target"
    target.mkdir()
    kernel._keep(tmp_path / "root", target)
    assert (target / "modules.order").read_text().split() == [
        "virtio_ring.ko", "virtio.ko", "virtio_pci.ko", "virtio_blk.ko", "net_failover.ko",
        "virtio_net.ko",
    ]  # fmt: skip
    assert (target / "vmlinuz").read_bytes() == b"kernel"
    builtin.unlink()
    with pytest.raises(GuestsUnavailable, match="no module virtio_balloon"):
        kernel._keep(tmp_path / "root", target)


def test_ubuntu_packages_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    depends = {
        "linux-image-virtual": "Depends: linux-image-6.8.0-1-generic",
        "linux-image-6.8.0-1-generic": " |Depends: kmod\n  Depends: linux-base\n"
        "  Depends: linux-modules-6.8.0-1-generic\n  Conflicts: linux-image-unsigned-6.8.0-1",
    }

    def run(args: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(args, 0, depends.get(args[-1], ""), "")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr("shutil.which", lambda name: name)
    assert kernel._packages() == ["linux-image-6.8.0-1-generic", "linux-modules-6.8.0-1-generic"]
    depends.clear()
    with pytest.raises(GuestsUnavailable, match="apt-get update"):
        kernel._packages()


def test_other_architectures_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    with pytest.raises(GuestsUnavailable, match="x86_64 host, this is aarch64"):
        kernel.kernel()


def test_domain_of_a_booted_guest(tmp_path: Path) -> None:
    nics = (Nic(net=0, port_id="0ec50ba5-e765-4683-a9bb-8e1f6427edc6"), Nic(net=32769))
    boot = Boot(Path("/k"), Path("/i"), tmp_path / "console")
    domain = Domain("instance-00000001", tmp_path / "disk", nics, boot, vcpus=2, iothreads=1)
    root = ET.fromstring(domain.xml())
    assert root.findtext("vcpu") == "2"
    assert "guest_net=198.18.0.2/198.18.0.1,198.18.0.6/198.18.0.5" in root.findtext(
        "os/cmdline", ""
    )
    targets = [element.get("dev") for element in root.findall("devices/interface/target")]
    assert targets[0] == "tap0ec50ba5-e7"
    assert [element.get("dev") for element in root.findall("devices/disk/target")] == ["vda", "hda"]
    assert root.find("devices/memballoon/stats[@period='1']") is not None
    assert root.find("metadata") is None


def test_domain_of_a_bare_guest(tmp_path: Path) -> None:
    root = ET.fromstring(Domain("bare", tmp_path / "disk", (Nic(1),)).xml())
    assert root.findtext("memory") == "16"
    assert root.find("os/kernel") is None
    assert root.find("devices/serial") is None
    assert root.find("devices/memballoon/stats[@period='10']") is not None


def test_nova_metadata_of_both_ages(tmp_path: Path) -> None:
    space = {"n": NAMESPACE}

    def metadata(nova: NovaInstance) -> ET.Element:
        xml = Domain("n", tmp_path / "disk", (Nic(1), Nic(2)), nova=nova).xml()
        found = ET.fromstring(xml).find("metadata/n:instance", space)
        assert found is not None
        return found

    new = metadata(NovaInstance(name="a <b>", ports=("10.0.0.5",)))
    assert new.findtext("n:name", namespaces=space) == "a <b>"
    flavor = new.find("n:flavor", space)
    assert flavor is not None
    assert flavor.attrib == {"name": "m1.tiny", "id": "1"}
    assert flavor.find("n:extraSpecs/n:extraSpec[@name='hw_rng:allowed']", space) is not None
    assert len(new.findall("n:ports/n:port", space)) == 2
    assert len(new.findall("n:ports/n:port/n:ip", space)) == 1
    old = metadata(
        NovaInstance(flavor=NovaFlavor(id=None, extra_specs=None), image=None, root_uuid=None)
    )
    assert [element.tag.partition("}")[2] for element in old] == [
        "package", "name", "creationTime", "flavor", "owner", "ports",
    ]  # fmt: skip


def test_cache_must_be_open_to_qemu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_dir().stat().st_mode & 0o777 == 0o755
    (tmp_path / "private").mkdir(mode=0o700)
    monkeypatch.setenv("CEILO_GUESTS_DIR", str(tmp_path / "private/guests"))
    with pytest.raises(GuestsUnavailable, match="cannot enter"):
        cache_dir()


def test_a_lock_in_use_is_reported() -> None:
    with locked("a"), pytest.raises(GuestsUnavailable, match="in use"), locked("a", busy="in use"):
        pass


def test_emulator_hides_a_kvm_that_qemu_may_not_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda _: "/bin/echo")
    monkeypatch.setattr(emulator, "_KVM", tmp_path / "kvm")
    assert emulator.emulator() is None
    (tmp_path / "kvm").touch()
    monkeypatch.setattr(emulator, "_kvm_is_open", lambda: True)
    assert emulator.emulator() is None
    monkeypatch.setattr(emulator, "_kvm_is_open", lambda: False)
    script = emulator.emulator()
    assert script is not None
    command = [str(script), "-machine", "none,accel=kvm:tcg", "-name", "a b"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert output == "-machine none,accel=tcg -name a b\n"


def test_only_remembered_daemons_are_stopped(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[int] = []
    monkeypatch.setattr("os.kill", lambda pid, _: killed.append(pid))
    monkeypatch.setattr(daemon, "_is", lambda pid, _: pid not in killed)
    daemon.stop()
    assert killed == []
    cache_dir()
    daemon._remember({"libvirtd": 11, "virtlogd": 12})
    daemon.stop()
    assert killed == [11, 12]
    assert not (cache / "daemons.json").exists()
    with pytest.raises(GuestsUnavailable, match="left alone"):
        daemon.stop_libvirtd()


def test_command_line_faults(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "need_root", lambda: None)
    monkeypatch.setattr(daemon, "ensure", lambda: (_ for _ in ()).throw(GuestsUnavailable("why")))
    assert command.main(["up"]) == 1
    assert capsys.readouterr().err == "tests.guests: why\n"
    for wrong in (["up", "--booted", "x"], ["up", "--prefix", "a/b"], []):
        with pytest.raises(SystemExit) as exit_:
            command.main(wrong)
        assert exit_.value.code == 2
