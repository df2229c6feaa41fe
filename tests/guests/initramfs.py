"""Build the guests' initramfs: busybox, the modules and `init.sh`."""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
from pathlib import Path

from tests.guests.errors import GuestsUnavailable
from tests.guests.kernel import Kernel
from tests.guests.paths import cache_dir

# fmt: off
_APPLETS = (
    "base64", "cat", "dd", "echo", "head", "insmod", "ip", "mkdir", "mkswap", "mount", "ping",
    "poweroff", "sh", "sleep", "swapon",
)
# fmt: on
_INIT = Path(__file__).with_name("init.sh")
_DIRECTORY, _FILE, _LINK, _DEVICE = 0o040755, 0o100755, 0o120777, 0o020600


def initramfs(kernel: Kernel) -> Path:
    """The initramfs for that kernel, in the cache; built again when any part of it changes."""
    busybox = _busybox().read_bytes()
    modules = [(path.name, path.read_bytes()) for path in kernel.modules]
    archive = Archive()
    for folder in ("bin", "dev", "modules", "proc", "sys"):
        archive.add(folder, _DIRECTORY)
    # The kernel opens it for /init before devtmpfs is mounted.
    archive.add("dev/console", _DEVICE, device=(5, 1))
    archive.add("init", _FILE, _INIT.read_bytes())
    archive.add("bin/busybox", _FILE, busybox)
    for applet in _APPLETS:
        archive.add(f"bin/{applet}", _LINK, b"busybox")
    for name, content in modules:
        archive.add(f"modules/{name}", _FILE, content)
    archive.add("modules/order", _FILE, "\n".join(name for name, _ in modules).encode())
    content = archive.finish()
    path = cache_dir() / f"initramfs-{hashlib.sha256(content).hexdigest()[:16]}.gz"
    if not path.exists():
        temporary = path.with_suffix(f".{os.getpid()}")
        temporary.write_bytes(gzip.compress(content, 6))
        temporary.chmod(0o644)
        temporary.rename(path)
    return path


class Archive:
    """A cpio archive in the "newc" format that Linux takes for an initramfs."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._count = 0

    def add(
        self, name: str, mode: int, content: bytes = b"", device: tuple[int, int] = (0, 0)
    ) -> None:
        """Add a file, a folder, a link (its content is the target) or a device node."""
        self._count += 1
        fields = (
            self._count,  # inode
            mode,
            0,  # uid
            0,  # gid
            1,  # links
            0,  # time, constant: the same parts give the same archive
            len(content),
            0,
            0,
            *device,
            len(name) + 1,
            0,  # checksum, unused in this format
        )
        header = b"070701" + b"".join(b"%08X" % field for field in fields)
        self._parts += [_padded(header + name.encode() + b"\0"), _padded(content)]

    def finish(self) -> bytes:
        """The whole archive."""
        self.add("TRAILER!!!", 0)
        return b"".join(self._parts)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)


def _busybox() -> Path:
    for path in (Path("/bin/busybox"), Path("/usr/bin/busybox")):
        if path.exists():
            if not is_static(path.read_bytes()):
                raise GuestsUnavailable(f"{path} is not static: install busybox-static")
            return path
    raise GuestsUnavailable("no busybox: install busybox-static")


def is_static(binary: bytes) -> bool:
    """Whether a 64-bit ELF file asks for no dynamic loader."""
    if binary[:5] != b"\x7fELF\x02":
        return False
    (table,) = struct.unpack_from("<Q", binary, 32)
    size, count = struct.unpack_from("<HH", binary, 54)
    interpreter = 3  # PT_INTERP
    return all(
        struct.unpack_from("<I", binary, table + number * size)[0] != interpreter
        for number in range(count)
    )
