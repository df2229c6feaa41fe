# SPDX-License-Identifier: Apache-2.0
"""A publisher that the test steers, short pauses, and a log's place with little memory."""

import pytest

from ceilo_agent.delivery import attempt, shelf
from ceilo_agent.delivery import log as log_module
from tests.unit.delivery.steered import Store


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(attempt, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(attempt, "LONGEST_PAUSE", 0.05)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "spool" / "polling" / "0"


@pytest.fixture
def small(monkeypatch):
    """Let memory keep 10 samples, in rows of 4."""
    monkeypatch.setattr(shelf, "TAIL_SAMPLES", 10)
    monkeypatch.setattr(log_module, "ROW_SAMPLES", 4)
