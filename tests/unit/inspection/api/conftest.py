# SPDX-License-Identifier: Apache-2.0
"""An inspector, a fetcher and a server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ceilo_agent.inspection.api.fetch import Fetcher
from ceilo_agent.inspection.api.inspector import CentralInspector
from tests.services import faulty
from tests.services.faulty.server import Server
from tests.unit.inspection.api.pollsters import inspector


@pytest.fixture
def fetcher() -> Iterator[Fetcher]:
    made = Fetcher()
    yield made
    made.close()


@pytest.fixture
def server() -> Iterator[Server]:
    with faulty.serving() as made:
        yield made


@pytest.fixture
def made() -> Iterator[CentralInspector]:
    found = inspector()
    yield found
    found.close()
