# SPDX-License-Identifier: Apache-2.0
"""What may run beside what, where pytest has several processes (`-n 3`)."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent


@functools.cache
def _has_guests(module: Path) -> bool:
    """Return whether tests of a module use guests, as its text tells."""
    return "functional" in module.parts and bool(
        re.search(r"\b(fleet|booted)\b", module.read_text("utf-8"))
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _has_guests(item.path):
            item.add_marker(pytest.mark.libvirtd)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep each module in one process, and all with guests in the same: they use one libvirtd.

    Without a guest, tests share nothing but the host. Those of units come last: they fill what is
    left, while those of daemons mostly wait.
    """
    from xdist.scheduler import LoadScopeScheduling  # noqa: PLC0415 -- it may not be there

    class ByModule(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            module = nodeid.partition("::")[0]
            return "guests" if _has_guests(ROOT / module) else module

    config.option.loadscopereorder = False
    return ByModule(config, log)
