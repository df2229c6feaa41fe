"""Create guests and remove them, without a trace."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import libvirt

from tests.guests import daemon
from tests.guests.domain import Boot, Domain, Nic
from tests.guests.emulator import emulator
from tests.guests.errors import GuestsUnavailable
from tests.guests.initramfs import initramfs
from tests.guests.kernel import kernel
from tests.guests.nova import NovaInstance
from tests.guests.paths import cache_dir, locked, need_root, run_dir

PREFIX = "ceilo-test-"
VALID_PREFIX = re.compile(r"[A-Za-z0-9_.-]{1,100}")
READY_SECONDS = 180.0
# QEMU's start takes the host's processors; its end is mostly waiting.
_START_THREADS = 4
_REMOVE_THREADS = 12
_DISK_MIB = 64
_SWAP_FROM_MIB = 32
_HALT = b"\xfa\xf4\xeb\xfc"  # cli; hlt; jmp back to the cli
_PIDS = Path("/run/libvirt/qemu")
_LOGS = Path("/var/log/libvirt/qemu")
_T = TypeVar("_T")
_R = TypeVar("_R")


@dataclass(frozen=True)
class Guest:
    """A guest that exists; it is found by its id, so a restart of libvirtd does no harm."""

    name: str
    uuid: str
    taps: tuple[str, ...]
    disk: Path
    console: Path | None

    @property
    def booted(self) -> bool:
        """Whether this guest is a Linux; a bare one halts in its BIOS."""
        return self.console is not None

    @property
    def pid(self) -> int:
        """The process id of its QEMU; ProcessLookupError if it does not run."""
        try:
            return int((_PIDS / f"{self.name}.pid").read_text())
        except (OSError, ValueError):
            raise ProcessLookupError(f"{self.name} does not run") from None

    @contextlib.contextmanager
    def domain(self) -> Iterator[Any]:
        """The libvirt domain, on a connection of its own."""
        with daemon.connection() as conn:
            yield conn.lookupByUUIDString(self.uuid)

    def state(self) -> str:
        """What libvirt says: "running", "paused", "shut off" or the number of another state."""
        names = {
            libvirt.VIR_DOMAIN_RUNNING: "running",
            libvirt.VIR_DOMAIN_PAUSED: "paused",
            libvirt.VIR_DOMAIN_SHUTOFF: "shut off",
        }
        with self.domain() as domain:
            number = domain.state()[0]
            return names.get(number, str(number))

    def start(self) -> None:
        """Start it (again)."""
        if self.console is not None and self.console.exists():
            # The READY of an earlier start must not be taken for this one's.
            os.truncate(self.console, 0)
        with self.domain() as domain:
            domain.create()

    def destroy(self) -> None:
        """Pull the plug; the guest stays defined."""
        # libvirt waits long for a stopped process to obey.
        with contextlib.suppress(ProcessLookupError):
            self.cont_process()
        with self.domain() as domain, contextlib.suppress(libvirt.libvirtError):
            domain.destroy()

    def shutdown(self) -> None:
        """Press the power button; a booted guest obeys within seconds."""
        with self.domain() as domain:
            domain.shutdown()

    def stop_process(self) -> None:
        """Hang it: its QEMU answers nothing until `cont_process`."""
        os.kill(self.pid, signal.SIGSTOP)

    def cont_process(self) -> None:
        """End what `stop_process` began."""
        os.kill(self.pid, signal.SIGCONT)

    def console_text(self) -> str:
        """What the guest wrote to its console."""
        if self.console is None:
            return ""
        try:
            return self.console.read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def wait_ready(self, timeout: float = READY_SECONDS) -> None:
        """Wait until a booted guest has done its first work and its balloon reports memory.

        A guest without hardware support may lock up as it boots; it is reset once.
        """
        deadline = time.monotonic() + timeout
        patience = time.monotonic() + timeout / 2
        while not self._is_ready():
            if time.monotonic() > patience:
                patience = deadline
                with self.domain() as domain:
                    domain.reset(0)
            if time.monotonic() > deadline:
                said = self.console_text().strip().splitlines()
                last = said[-1].strip() if said else "its console is empty"
                raise TimeoutError(f"{self.name} is not ready after {timeout:.0f} s: {last}")
            time.sleep(0.2)

    def _is_ready(self) -> bool:
        if not self.booted:
            return True
        if self.console is None or "READY" not in self.console_text():
            return False
        with self.domain() as domain:
            stats: dict[str, int] = domain.memoryStats()
        # Both are times of the host: the guest said what it has done after it was ready.
        return stats.get("last_update", 0) > self.console.stat().st_mtime


@contextlib.contextmanager
def fleet(
    *,
    booted: int = 0,
    bare: int = 0,
    prefix: str = PREFIX,
    nova: bool | Sequence[NovaInstance | None] = True,
    nics: int = 1,
    iothreads: int = 0,
) -> Iterator[list[Guest]]:
    """Guests for the length of a block, booted ones first; leftovers of `prefix` are removed.

    Args:
        booted: how many run Linux; their counters move. The first has two vCPUs, then one and
            two by turns. They are started, not ready yet: see `Guest.wait_ready`.
        bare: how many have no system; cheap, but nearly all their counters stay zero.
        prefix: starts the names; "instance-" gives Nova's "instance-00000001".
        nova: metadata of a made-up instance for each guest, or none, or those given.
        nics: how many NICs each has.
        iothreads: how many I/O threads each has.
    """
    _check(prefix)
    with (
        locked(f"fleet-{prefix}", busy=f"another run uses the guests {prefix}*"),
        daemon.running(),
    ):
        remove_all(prefix)
        try:
            yield create(
                booted=booted,
                bare=bare,
                prefix=prefix,
                nova=nova,
                nics=nics,
                iothreads=iothreads,
            )
        finally:
            remove_all(prefix)


def create(
    *,
    booted: int = 0,
    bare: int = 0,
    prefix: str = PREFIX,
    nova: bool | Sequence[NovaInstance | None] = True,
    nics: int = 1,
    iothreads: int = 0,
) -> list[Guest]:
    """Define and start guests that nothing removes but `remove_all`; see `fleet`."""
    _check(prefix)
    template = _prepare()
    qemu = emulator()
    if booted:
        linux = kernel()
        initrd = initramfs(linux)
    instances = _instances(nova, booted + bare, nics)
    net = random.randrange(32768)
    domains = []
    for index, instance in enumerate(instances):
        name = f"{prefix}{index + 1:08x}"
        folder = run_dir() / name
        folder.mkdir(mode=0o755, exist_ok=True)
        shutil.copyfile(template, folder / "disk.qcow2")
        boot = Boot(linux.image, initrd, folder / "console.log") if index < booted else None
        domains.append(
            Domain(
                name=name,
                disk=folder / "disk.qcow2",
                nics=tuple(Nic(net + index * nics + number) for number in range(nics)),
                boot=boot,
                vcpus=2 if boot and index % 2 == 0 else 1,
                iothreads=iothreads,
                nova=instance,
                title=f"test guest {index + 1}",
                description="made by tests.guests",
                emulator=qemu,
            )
        )
    try:
        with daemon.connection() as conn:
            guests = _each(_START_THREADS, lambda domain: _start(conn, domain), domains)
    except libvirt.libvirtError as exc:
        remove_all(prefix)
        raise GuestsUnavailable(f"a guest did not start: {exc}") from exc
    except BaseException:
        remove_all(prefix)
        raise
    return guests


def existing(prefix: str = "") -> list[Guest]:
    """The guests made by this tool, in the order of their names."""
    guests = []
    with daemon.connection() as conn:
        for domain in conn.listAllDomains():
            # Another run may remove its guests meanwhile.
            with contextlib.suppress(libvirt.libvirtError):
                guest = _guest(domain.XMLDesc())
                if guest is not None and guest.name.startswith(prefix):
                    guests.append(guest)
    return sorted(guests, key=lambda guest: guest.name)


def remove_all(prefix: str) -> int:
    """Remove the guests whose names start so, and their files; never a guest not made here."""
    guests = existing(prefix)
    _each(_REMOVE_THREADS, _remove, guests)
    for folder in run_dir().iterdir():
        # Of a run killed between making the folder and defining the guest.
        if folder.name.startswith(prefix):
            shutil.rmtree(folder, ignore_errors=True)
    return len(guests)


def _check(prefix: str) -> None:
    need_root()
    if not VALID_PREFIX.fullmatch(prefix):
        raise ValueError(f"a prefix of guests' names is of letters, digits, '._-': {prefix!r}")


def _prepare() -> Path:
    """The disk each guest gets a copy of; made once."""
    if shutil.which("qemu-img") is None:
        raise GuestsUnavailable("no qemu-img: install qemu-utils")
    template = cache_dir() / "disk.qcow2"
    with locked("disk"):
        if not template.exists():
            _make_disk(template)
    return template


def _make_disk(template: Path) -> None:
    """A disk with one partition, for the swap, in its second half.

    A bare guest boots it, and then must do nothing: a hundred of them share few processors.
    """
    raw, made = template.with_suffix(".raw"), template.with_suffix(".new")
    sectors = 2048
    start, length = _SWAP_FROM_MIB * sectors, (_DISK_MIB - _SWAP_FROM_MIB) * sectors
    entry = bytes([0, 0, 0, 0, 0x82, 0, 0, 0])
    entry += start.to_bytes(4, "little") + length.to_bytes(4, "little")
    with raw.open("wb") as file:
        file.write(_HALT.ljust(446, b"\0") + entry + b"\0" * 48 + b"\x55\xaa")
        file.truncate(_DISK_MIB << 20)
    command = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(made)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    raw.unlink()
    if result.returncode:
        raise GuestsUnavailable(f"qemu-img: {result.stderr.strip()}")
    made.rename(template)


def _instances(
    nova: bool | Sequence[NovaInstance | None], count: int, nics: int
) -> Sequence[NovaInstance | None]:
    if nova is True:
        return [
            NovaInstance(
                name=f"server-{index - 9}",
                ports=tuple(f"10.{nic}.{index >> 8}.{index & 255}" for nic in range(nics)),
            )
            for index in range(10, 10 + count)
        ]
    if nova is False:
        return [None] * count
    if len(nova) != count:
        raise ValueError(f"{count} guests need {count} Nova instances, not {len(nova)}")
    return nova


def _start(conn: Any, domain: Domain) -> Guest:
    xml = domain.xml()
    conn.defineXML(xml).create()
    guest = _guest(xml)
    assert guest is not None
    return guest


def _guest(xml: str) -> Guest | None:
    """The guest of a domain's XML; None if its disk is not one of ours."""
    root = ET.fromstring(xml)
    source = root.find("devices/disk[@device='disk']/source")
    disk = Path(source.get("file", "") if source is not None else "")
    if disk.parent.parent != run_dir():
        return None
    console = root.find("devices/serial[@type='file']/source")
    targets = root.findall("devices/interface/target")
    return Guest(
        name=root.findtext("name", ""),
        uuid=root.findtext("uuid", ""),
        taps=tuple(target.get("dev", "") for target in targets),
        disk=disk,
        console=None if console is None else Path(console.get("path", "")),
    )


def _remove(guest: Guest) -> None:
    guest.destroy()
    with guest.domain() as domain:
        domain.undefineFlags(
            libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
            | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
            | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
        )
    shutil.rmtree(guest.disk.parent, ignore_errors=True)
    for log in _LOGS.glob(f"{guest.name}.log*"):
        log.unlink(missing_ok=True)


def _each(threads: int, work: Callable[[_T], _R], items: Sequence[_T]) -> list[_R]:
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, items))
