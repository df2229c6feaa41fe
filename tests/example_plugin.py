# SPDX-License-Identifier: Apache-2.0
"""The documented example of a plugin, made importable with the entry points of its setup.cfg."""

from __future__ import annotations

import configparser
import contextlib
import importlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from stevedore.extension import ExtensionManager

EXAMPLE = Path(__file__).resolve().parent.parent / "doc" / "examples" / "plugin"
PACKAGE = "ceilo_agent_example"


def install(directory: Path) -> None:
    """Leave in a directory what pip would: the package, and the metadata that names its plugins."""
    shutil.copytree(EXAMPLE / PACKAGE, directory / PACKAGE)
    setup = configparser.ConfigParser(delimiters=("=",), interpolation=None)
    setup.read(EXAMPLE / "setup.cfg")
    groups = setup["options.entry_points"].items()
    metadata = setup["metadata"]
    describe(
        directory,
        metadata["name"],
        metadata["version"],
        "".join(f"[{group}]{lines}\n" for group, lines in groups),
    )


def describe(directory: Path, name: str, version: str, entry_points: str) -> None:
    """Write the metadata of an installed distribution."""
    info = directory / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(entry_points)


@contextlib.contextmanager
def installed(directory: Path) -> Iterator[None]:
    """Have the example installed in this process while the context lasts."""
    install(directory)
    sys.path.insert(0, str(directory))
    importlib.invalidate_caches()
    # stevedore looks entry points up once per process.
    ExtensionManager.ENTRY_POINT_CACHE.clear()
    try:
        yield
    finally:
        sys.path.remove(str(directory))
        ExtensionManager.ENTRY_POINT_CACHE.clear()
        for module in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
            del sys.modules[module]
        importlib.invalidate_caches()
