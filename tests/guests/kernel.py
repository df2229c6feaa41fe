"""Get a Linux kernel and its virtio modules out of the distribution's packages.

Nothing is installed: the packages are downloaded by apt, unpacked, and only the kernel and the
few modules are kept.
"""

from __future__ import annotations

import lzma
import platform
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.guests.errors import GuestsUnavailable
from tests.guests.paths import cache_dir, locked

# Debian's, then Ubuntu's name for the kernel made for virtual machines.
META_PACKAGES = ("linux-image-cloud-amd64", "linux-image-virtual")
REQUIRED = ("virtio_pci", "virtio_balloon", "virtio_blk", "virtio_net")
# These make the guest obey an ACPI shutdown; it works without.
OPTIONAL = ("button", "evdev")
_APT_SECONDS = 300.0
_PARTS = re.compile(r"linux-(image|modules|binary)-")
_MODULE = re.compile(r"(?P<name>[\w-]+)\.ko(?P<packed>\.xz|\.zst)?")


@dataclass(frozen=True)
class Kernel:
    """A kernel image and its modules, in the order they must be inserted."""

    image: Path
    modules: tuple[Path, ...]


def kernel() -> Kernel:
    """The cached kernel, downloaded the first time."""
    if platform.machine() != "x86_64":
        raise GuestsUnavailable(f"guests need an x86_64 host, this is {platform.machine()}")
    folder = cache_dir() / "kernel"
    with locked("kernel"):
        if not folder.exists():
            _download(folder)
    order = (folder / "modules.order").read_text().split()
    return Kernel(folder / "vmlinuz", tuple(folder / name for name in order))


def _download(target: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="kernel-", dir=target.parent) as name:
        work = Path(name)
        work.chmod(0o755)
        packages = _packages()
        _run("apt-get", "download", *packages, cwd=work)
        for package in work.glob("*.deb"):
            _run("dpkg", "-x", package.name, "root", cwd=work)
        result = work / "kernel"
        result.mkdir(mode=0o755)
        _keep(work / "root", result)
        result.rename(target)


def _packages() -> list[str]:
    """The real packages behind the distribution's meta package."""
    if shutil.which("apt-get") is None:
        raise GuestsUnavailable("no apt-get here: guests need a kernel of Debian or Ubuntu")
    for meta in META_PACKAGES:
        found: list[str] = []
        queue = _depends(meta)
        while queue:
            package = queue.pop(0)
            if package not in found:
                found.append(package)
                queue += _depends(package)
        if found:
            return found
    raise GuestsUnavailable(
        f"apt knows none of {', '.join(META_PACKAGES)}: run 'apt-get update' first"
    )


def _depends(package: str) -> list[str]:
    command = ["apt-cache", "depends", "--no-recommends", "--no-suggests", package]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    found = []
    alternative = False
    for line in result.stdout.splitlines():
        kind, _, name = line.strip().partition("Depends: ")
        if kind in ("", "|"):
            # Of alternatives ("|Depends: a", "Depends: b") the first is as good as the others.
            if not alternative and _PARTS.match(name):
                found.append(name)
            alternative = kind == "|"
    return found


def _keep(root: Path, target: Path) -> None:
    """Copy what is needed of unpacked packages: the kernel, the modules, their order."""
    images = sorted(root.glob("boot/vmlinuz-*"))
    if not images:
        raise GuestsUnavailable("the kernel package holds no boot/vmlinuz-*")
    shutil.copyfile(images[-1], target / "vmlinuz")
    version = images[-1].name.removeprefix("vmlinuz-")
    available: dict[str, Path] = {}
    built_in: set[str] = set()
    for lib in (root / "lib/modules", root / "usr/lib/modules"):
        for path in lib.glob(f"{version}/**/*.ko*"):
            if match := _MODULE.fullmatch(path.name):
                available[match["name"].replace("-", "_")] = path
        for path in lib.glob(f"{version}/modules.builtin"):
            names = (Path(line).name for line in path.read_text().splitlines())
            built_in.update(name.removesuffix(".ko").replace("-", "_") for name in names)
    missing = [name for name in REQUIRED if name not in available and name not in built_in]
    if missing:
        raise GuestsUnavailable(f"kernel {version} has no module {', '.join(missing)}")
    order: list[str] = []
    for name in REQUIRED + OPTIONAL:
        _take(name, available, target, order)
    (target / "modules.order").write_text("\n".join(order) + "\n")


def _take(name: str, available: dict[str, Path], target: Path, order: list[str]) -> None:
    """Unpack one module after those it depends on; a built-in one has no file."""
    file = f"{name}.ko"
    if file in order or name not in available:
        return
    content = _content(available[name])
    for needed in _needs(content):
        _take(needed, available, target, order)
    (target / file).write_bytes(content)
    order.append(file)


def _needs(module: bytes) -> list[str]:
    """The modules that one depends on: `depends=a,b` in its .modinfo section."""
    match = re.search(rb"\0depends=([\w,-]+)\0", b"\0" + module)
    return match[1].decode().replace("-", "_").split(",") if match else []


def _content(path: Path) -> bytes:
    if path.suffix == ".xz":
        return lzma.decompress(path.read_bytes())
    if path.suffix == ".zst":
        if shutil.which("zstd") is None:
            raise GuestsUnavailable("the kernel's modules are .zst: install the package zstd")
        command = ["zstd", "-d", "-c", "-q", str(path)]
        return subprocess.run(command, capture_output=True, check=True).stdout
    return path.read_bytes()


def _run(*command: str, cwd: Path) -> None:
    try:
        result = subprocess.run(
            command, cwd=cwd, capture_output=True, text=True, timeout=_APT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise GuestsUnavailable(f"{command[0]}: {exc}") from None
    if result.returncode:
        errors = [line for line in result.stderr.splitlines() if line.startswith(("E:", "dpkg"))]
        reason = (errors or result.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise GuestsUnavailable(f"{' '.join(command)} failed: {reason}")
