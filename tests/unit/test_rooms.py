# SPDX-License-Identifier: Apache-2.0
"""The rooms of the package: a lower one never imports a higher one."""

import ast
from pathlib import Path

import pytest

import ceilo_agent

ROOMS = (
    "sample", "volumes", "errors", "shown", "http_faults", "options", "plugins", "expressions",
    "definition", "meters", "openstack", "discovery", "inspection", "coordination", "polling",
    "messaging", "notification", "pipeline", "delivery", "publishers", "store", "web", "cli",
)  # fmt: skip
"""From the bottom up."""

DOWNWARDS = {
    # The stages of a sample's way are listed in its order, and each hands on to the next. What a
    # stage is given from outside (a callable, a plugin's class) is no import.
    ("pipeline", "delivery"),
    ("publishers", "store"),
}
"""Imports of a later stage that are meant: the pipeline ends in outlets, `local` is the store's."""

ROOT = Path(ceilo_agent.__file__).parent
FILES = sorted(path.relative_to(ROOT) for path in ROOT.rglob("*.py"))


def room_of(path):
    return path.parts[0].removesuffix(".py")


def imported(path):
    """Yield the rooms that a file imports from, wherever in it."""
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        names = []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [node.module]
            if node.module == "ceilo_agent":
                names = [f"ceilo_agent.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "ceilo_agent" and len(parts) > 1 and parts[1] in ROOMS:
                yield parts[1]


def test_every_file_is_in_a_room():
    assert {room_of(path) for path in FILES} <= {*ROOMS, "__init__"}


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_room_imports_only_lower_rooms(path):
    own = room_of(path)
    if own == "__init__":
        assert list(imported(path)) == []
        return
    upwards = {
        other
        for other in imported(path)
        if ROOMS.index(other) > ROOMS.index(own) and (own, other) not in DOWNWARDS
    }
    assert upwards == set()


def test_nothing_of_ours_names_eventlet():
    for path in FILES:
        assert "eventlet" not in (ROOT / path).read_text()
