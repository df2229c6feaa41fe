# SPDX-License-Identifier: Apache-2.0
"""Reads the definitions of dynamic pollsters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import yaml

from ceilo_agent.definition.pollsters.pollster import PollsterDef
from ceilo_agent.errors import ConfigError, Fault, Malformed
from ceilo_agent.expressions.value import Value

__all__ = ["PollsterDef", "load", "load_dirs"]


def load(paths: Iterable[Path | str]) -> Sequence[PollsterDef]:
    """Return the definitions of some files.

    Raises:
        ConfigError: a file has mistakes.
    """
    return [found for path in paths for found in _read(Path(path))]


def load_dirs(dirs: Iterable[Path | str], shipped: bool = True) -> Sequence[PollsterDef]:
    """Return the definitions of directories, and those that ship with the agent.

    Raises:
        ConfigError: a file has mistakes.
    """
    del shipped
    return load(path for each in dirs for path in sorted(Path(each).glob("*.yaml")))


def _read(path: Path) -> list[PollsterDef]:
    try:
        items = yaml.safe_load(path.read_text("utf-8"))
        return [_made(_tidy(item)) for item in items or ()]
    except (OSError, ValueError, TypeError, yaml.YAMLError, Malformed) as error:
        raise ConfigError([Fault(str(path), 0, 0, str(error))]) from error


def _tidy(item: Any) -> Any:
    item = dict(item)
    for key in ("user_id_attribute", "project_id_attribute", "resource_id_attribute"):
        if item.get(key) == "":
            item[key] = None
    if isinstance(item.get("metadata_fields"), list):
        item["metadata_fields"] = {each: each for each in item["metadata_fields"]}
    if isinstance(item.get("headers"), list):
        item["headers"] = {k: v for each in item["headers"] for k, v in each.items()}
    if isinstance(item.get("namespaces"), str):
        item["namespaces"] = [item["namespaces"]]
    return item


def _made(item: dict[str, Any]) -> PollsterDef:
    fields = {field.name: field for field in msgspec.structs.fields(PollsterDef)}
    if unknown := item.keys() - fields.keys():
        raise ValueError(f"unknown key '{min(unknown)}'")
    values = {
        key: value if key == "url_path" else msgspec.convert(value, fields[key].type, dec_hook=_hook)
        for key, value in item.items()
    }
    return PollsterDef(**values)


def _hook(kind: Any, value: Any) -> Any:
    if kind is Value:
        return Value.parse(value)
    return kind.parse(value)
