# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ceilo_agent.store.reader import Reader
from ceilo_agent.store.writer import Writer
from tests.unit.store.samples import START

WEEK = 7 * 86400.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def opened(path: Path) -> Iterator[Callable[..., Writer]]:
    """Make writers that are closed at the end."""
    made: list[Writer] = []

    def make(max_age: float = WEEK, max_bytes: int = 1 << 30, now: float = START) -> Writer:
        writer = Writer(path, max_age, max_bytes, clock=lambda: now)
        writer.open()
        made.append(writer)
        return writer

    yield make
    for writer in made:
        writer.close()


@pytest.fixture
def reader(path: Path) -> Reader:
    return Reader(path)
