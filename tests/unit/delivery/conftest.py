# SPDX-License-Identifier: Apache-2.0
"""A publisher that the test steers, and short pauses."""

import pytest

from ceilo_agent.delivery import attempt
from tests.unit.delivery.steered import Store


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(attempt, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(attempt, "LONGEST_PAUSE", 0.05)
