# SPDX-License-Identifier: Apache-2.0
"""Plugins of another distribution, installed for a test: real entry points, real code."""

from __future__ import annotations

import contextlib
import importlib
import sys

from stevedore.extension import ExtensionManager

CODE = """
from enum import Enum
from typing import Annotated, Literal
import msgspec
from ceilo_agent.plugins import Publisher, Transformer

class Target(msgspec.Struct):
    name: str | None = None
    scale: float | str = 1
    type: Literal["gauge", "delta"] = "gauge"

class Parameters(msgspec.Struct):
    size: Annotated[int, msgspec.Meta(ge=1, le=10)]
    target: Target | None = None
    growth_only: bool = False
    sizes: list[int] = []
    def __post_init__(self):
        if self.growth_only and self.size > 5:
            raise ValueError("growth_only takes a size of at most 5")

class Probe(Transformer):
    Parameters = Parameters
    def __call__(self, samples):
        return samples

class Nothing(msgspec.Struct):
    pass

class Bare(Transformer):
    Parameters = Nothing
    def __call__(self, samples):
        return samples

class Policy(Enum):
    DROP = "drop"
    QUEUE = "queue"

class Options(msgspec.Struct):
    timeout: Annotated[float, msgspec.Meta(gt=0)] = 5.0
    retries: int | None = None
    verify: bool = True
    policy: Policy = Policy.DROP
    topic: Annotated[str, msgspec.Meta(description="where to", pattern="^[a-z]+$")] = "metering"

class Sender(Publisher):
    Options = Options
    def push(self, samples):
        pass

class Odd(Publisher):
    def push(self, samples):
        pass
"""

ENTRY_POINTS = """
[ceilo_agent.transformer]
probe = ceilo_probes:Probe
bare = ceilo_probes:Bare

[ceilo_agent.publisher]
sender = ceilo_probes:Sender
odd = ceilo_probes:Odd
broken = ceilo_probes_broken:Absent
"""


@contextlib.contextmanager
def installed(directory):
    """Have the probes installed while the context lasts."""
    (directory / "ceilo_probes.py").write_text(CODE)
    (directory / "ceilo_probes_broken.py").write_text("import no_such_module\n")
    info = directory / "ceilo_probes-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ceilo-probes\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    sys.path.insert(0, str(directory))
    importlib.invalidate_caches()
    # stevedore looks entry points up once per process.
    ExtensionManager.ENTRY_POINT_CACHE.clear()
    try:
        yield
    finally:
        sys.path.remove(str(directory))
        ExtensionManager.ENTRY_POINT_CACHE.clear()
        for module in ("ceilo_probes", "ceilo_probes_broken"):
            sys.modules.pop(module, None)
        importlib.invalidate_caches()
