# SPDX-License-Identifier: Apache-2.0
"""What `config check` says of dynamic pollsters."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from ceilo_agent.cli.config.pollsters import examined, summary

GOOD = "- {name: a.b, sample_type: gauge, unit: u, value_attribute: v, host_command: df}\n"


def options(*places: Path, host_commands: bool = False) -> SimpleNamespace:
    polling = SimpleNamespace(
        pollsters_definitions_dirs=[str(each) for each in places], host_commands=host_commands
    )
    return SimpleNamespace(polling=polling)


def test_a_command_that_is_not_run_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD)
    found = examined(options(tmp_path))
    assert [each.what for each in found.warnings] == [
        "a.b: its command is not run: [polling] host_commands is false"
    ]
    assert examined(options(tmp_path, host_commands=True)).warnings == []


def test_files_and_pollsters_are_counted(tmp_path: Path) -> None:
    assert summary(examined(options(tmp_path))) == "", "there is nothing to say"
    (tmp_path / "a.yaml").write_text(GOOD)
    found = examined(options(tmp_path))
    assert found.names == {"a.b"}
    assert summary(found) == f"{tmp_path}: 1 file, 1 pollster, no faults"
    (tmp_path / "b.yaml").write_text(GOOD.replace("gauge", "gage").replace("a.b", "c"))
    found = examined(options(tmp_path))
    assert [each.line for each in found.faults] == [1]
    assert found.names == {"a.b"}
    assert summary(found) == ""


def test_a_missing_directory_is_a_fault(tmp_path: Path) -> None:
    found = examined(options(tmp_path / "none"))
    assert [each.what for each in found.faults] == ["no such directory"]
