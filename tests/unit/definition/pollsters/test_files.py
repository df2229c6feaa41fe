# SPDX-License-Identifier: Apache-2.0
"""Directories of definitions: which files count, what stands twice, what replaces what."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from ceilo_agent.definition.pollsters import examine, files, load, load_dirs
from ceilo_agent.errors import ConfigError


def definition(name: str, unit: str = "u", more: str = "") -> str:
    return (
        f"- {{name: {name}, sample_type: gauge, unit: {unit}, value_attribute: v, "
        f"url_path: p, discovery: resources{more}}}\n"
    )


def test_the_files_of_directories_are_read_sorted(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.yaml", "c.yml", "d.yaml.bak"):
        (tmp_path / name).write_text(definition(f"from.{name[0]}"))
    found = load_dirs([tmp_path, tmp_path], shipped=False)
    assert [each.name for each in found] == ["from.a", "from.b"]


def test_a_file_may_hold_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("# later\n")
    assert load_dirs([tmp_path], shipped=False) == []


def test_a_name_stands_in_one_place(tmp_path: Path) -> None:
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text("# one\n" + definition("x"))
    second.write_text(definition("y") + definition("x"))
    with pytest.raises(ConfigError) as caught:
        load_dirs([tmp_path], shipped=False)
    assert str(caught.value) == (
        f"{second}:2:10: a second pollster with the name 'x' (the first is at {first}:2:10)"
    )


def test_mistakes_of_all_files_are_told_together(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(definition("x y"))
    with pytest.raises(ConfigError) as caught:
        load_dirs([tmp_path])
    assert [Path(fault.file).name for fault in caught.value.faults] == ["a.yaml", "b.yaml"]


def test_a_directory_that_was_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_dirs([tmp_path / "none"])
    assert str(caught.value) == (
        f"{tmp_path}/none: no such directory ([polling] pollsters_definitions_dirs)"
    )


def test_the_default_directory_may_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "POLLSTERS", str(tmp_path / "none"))
    assert load_dirs([tmp_path / "none"], shipped=False) == []


def test_a_definition_replaces_a_shipped_one_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shipped = tmp_path / "shipped.yaml"
    shipped.write_text(definition("x", "old") + definition("z"))
    monkeypatch.setattr(files, "shipped_files", lambda: [shipped])
    own = tmp_path / "own"
    own.mkdir()
    (own / "a.yaml").write_text(definition("x", "new"))
    with caplog.at_level(logging.INFO):
        found = load_dirs([own])
    assert [(each.name, each.unit) for each in found] == [("z", "u"), ("x", "new")]
    assert "the shipped definition of x is replaced" in caplog.text


def test_shipped_definitions_have_no_mistake() -> None:
    found = examine(files.shipped_files())
    assert not found.faults
    assert not found.warnings


def test_warnings_are_logged_and_stop_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(
        definition("x", more=", namespaces: compute, metadata_mapping: {a: b}, "
                   "headers: {X-Auth-Token: geheim}")
    )  # fmt: skip
    assert [each.namespaces for each in load([file])] == [("compute",)]
    assert "nothing polls it" in caplog.text
    assert "no metadata_fields has the name 'a'" in caplog.text
    assert "the header 'X-Auth-Token' holds a secret" in caplog.text
    assert "geheim" not in caplog.text
