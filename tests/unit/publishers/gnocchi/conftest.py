# SPDX-License-Identifier: Apache-2.0
"""A store that answers as Gnocchi does, publishers that speak to it, and definition files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from ceilo_agent.plugins import Context
from ceilo_agent.publishers.gnocchi.definitions import Definitions
from ceilo_agent.publishers.gnocchi.publisher import Gnocchi
from ceilo_agent.publishers.gnocchi.settings import GnocchiOptions
from tests.unit.publishers.gnocchi import edge

Make = Callable[..., Gnocchi]
Loaded = Callable[[str], Definitions]


@pytest.fixture
def store() -> Iterator[edge.Edge]:
    with edge.serving() as made:
        yield made


@pytest.fixture
def make(store: edge.Edge) -> Iterator[Make]:
    """Make and open publishers; options by name, those of the agent by ``section.name``."""
    opened: list[Gnocchi] = []

    def build(url: str | None = None, **options: Any) -> Gnocchi:
        values = {
            name.replace("__", "."): options.pop(name) for name in list(options) if "__" in name
        }
        made = Gnocchi(
            urlsplit(url or f"gnocchi://127.0.0.1:{store.port}"),
            msgspec.convert(options, GnocchiOptions, strict=False),
            Context("here", values),
        )
        opened.append(made)
        made.open()
        return made

    yield build
    for made in opened:
        made.close()


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    """Load a definition file of this text."""

    def made(text: str) -> Definitions:
        path = tmp_path / "made.yaml"
        path.write_text(text, "utf-8")
        return Definitions.load(path)

    return made
