# SPDX-License-Identifier: Apache-2.0
"""What our central agent and Ceilometer's own pollsters read of the same cloud."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tests.functional import agent
from tests.functional.metadata import python_of_ceilometer
from tests.services import openstack_apis

SCRIPT: Final = Path(openstack_apis.__file__).with_name("ceilometer_central.py")

LEFT_OUT: Final = {("network.services.vpn.connections", "psk")}
"""Metadata that Ceilometer has and we have not: a secret of the connection."""


def section(user: Mapping[str, str]) -> str:
    """Return the section of options of a user of the cloud, the same for both agents."""
    values = dict(user) | {"region_name": "RegionOne", "interface": "public"}
    lines = [f"{name} = {value}" for name, value in values.items()]
    return "\n".join(["[service_credentials]", *lines, ""])


def poll(options: str, directory: Path, *arguments: str, check: bool = True) -> Any:
    """Have our agent read once, as JSON."""
    config = agent.configure(directory, "h", "central", options)
    return agent.run("poll", "--once", "--output", "json", *arguments, config=config, check=check)


def ours(options: str, directory: Path, *arguments: str) -> list[dict[str, Any]]:
    """Return what our agent reads."""
    found: list[dict[str, Any]] = json.loads(poll(options, directory, *arguments).stdout)
    return found


def theirs(options: str, directory: Path) -> dict[str, Any]:
    """Return the `samples` of Ceilometer's pollsters, and the `faults` of those that failed."""
    config = directory / "ceilometer.conf"
    types = "[service_types]\nradosgw = object-store\ncinder = block-storage\n"
    config.write_text(f"[DEFAULT]\ntransport_url = fake://\n{types}{options}")
    answer = directory / "theirs.json"
    command = [str(python_of_ceilometer()), "-P", str(SCRIPT), str(config), str(answer)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(answer.read_text())
    return found


def by_key(samples: list[dict[str, Any]]) -> dict[tuple[str, str, str], list[Any]]:
    """Return what two samples of the same thing must have in common.

    There is one of each, but for a bucket whose objects are of several categories.
    """
    found: dict[tuple[str, str, str], list[Any]] = {}
    for sample in samples:
        metadata = sample["resource_metadata"] or {}
        key = sample["name"], sample["resource_id"], metadata.get("alarm_state", "")
        said = [sample[name] for name in ("volume", "type", "unit", "project_id", "user_id")]
        known = {
            name: value
            for name, value in metadata.items()
            if value is not None and (sample["name"], name) not in LEFT_OUT
        }
        found.setdefault(key, []).append([*said, known])
    for each in found.values():
        each.sort(key=lambda said: said[0])
    return found
