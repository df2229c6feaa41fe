# SPDX-License-Identifier: Apache-2.0
"""Directories of logs for the commands that look at them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.cli.spooled import START, Spool, Written, sample


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path)


@pytest.fixture
def filled(spool: Spool) -> Iterator[Spool]:
    """One log: `store` is behind by three samples, `other` by all five; two were refused."""
    log = Written(spool.zero)
    store, other = log.publisher("store"), log.publisher("other", delivered=7, dropped=4)
    log.offer([store, other], [sample(n) for n in range(3)], START + 10)
    second = log.offer([store, other], [sample(n) for n in range(3, 5)], START + 20)
    log.deliver(store, second - 1, 2, 2)
    log.refuse(store, [sample(100, "vm-2")], START + 30, "400: bad \x1b[31m")
    log.refuse(store, [sample(101, "vm-2")], START + 31, "400: worse")
    yield spool
    log.close()
