# SPDX-License-Identifier: Apache-2.0
"""``ceilo-agent meters``."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ceilo_agent.meters.catalogue import NAMESPACES, catalogue

OWN = """\
- name: device.load
  sample_type: gauge
  unit: load
  value_attribute: load
  discovery: resources
  url_path: devices
  kind: device
  description: Load.
"""


def run(
    *arguments: str, status: int = 0, before: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    code = "from ceilo_agent.cli.main import run; run()"
    done = subprocess.run(
        [sys.executable, "-c", code, *before, "meters", *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_the_operators_own_definitions_are_listed(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "own.yaml").write_text(OWN)
    conf = tmp_path / "agent.conf"
    conf.write_text(f"[polling]\npollsters_definitions_dirs = {tmp_path}/d\n")
    done = run("--output", "json", "device.*", before=("--config-file", str(conf)))
    (row,) = json.loads(done.stdout)
    assert row == {
        "name": "device.load",
        "unit": "load",
        "type": "gauge",
        "namespace": "central",
        "description": "Load.",
        "resource_type": "device",
    }


def listed(*arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run("--output", "json", *arguments).stdout)
    return found


def test_json_lists_every_meter_of_every_namespace() -> None:
    found = listed()
    assert [row["name"] for row in found] == [
        entry.name for namespace in NAMESPACES for entry in catalogue(namespace).meters
    ]
    for row in found:
        assert list(row) == ["name", "unit", "type", "namespace", "description", "resource_type"]
        assert row["type"] in ("gauge", "cumulative", "delta")
        assert row["description"].strip()
    assert {row["namespace"] for row in found} == set(NAMESPACES)


def test_a_meter_of_ceilometer_has_its_unit_and_type() -> None:
    (row,) = listed("hardware.memory.total")
    assert row == {
        "name": "hardware.memory.total",
        "unit": "KB",
        "type": "gauge",
        "namespace": "host",
        "description": "Physical memory that the kernel manages.",
        "resource_type": "host",
    }


def test_a_pattern_and_a_namespace_choose() -> None:
    assert {row["namespace"] for row in listed("--namespace", "host")} == {"host"}
    names = [row["name"] for row in listed("hardware.cpu.load.*")]
    assert names == [f"hardware.cpu.load.{minutes}min" for minutes in (1, 5, 15)]


def test_a_pipe_gets_aligned_plain_text() -> None:
    lines = run("hardware.cpu.load.*").stdout.splitlines()
    assert lines[0].split() == ["namespace", "name", "unit", "type", "description"]
    column = lines[0].index("description")
    for line in lines[1:]:
        assert line.startswith("host ")
        assert line[column - 2 : column] == "  "
        assert line[column:].startswith("Load average over")
    assert "\x1b" not in "".join(lines)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["hardware.memory.totl"], "did you mean 'hardware.memory.total'?"),
        (["cpu_util"], "no meter matches 'cpu_util' (a rate_of_change of 'cpu' makes it)"),
        (["identity.*"], "it comes from an OpenStack API, which this agent does not poll"),
        (["--namespace", "hosts"], "'hosts' is not one of"),
        (["--output", "yaml"], "'yaml' is not one of"),
        (["--namespace", "host", "cpu"], "no meter matches 'cpu'"),
    ],
)
def test_a_mistake_gives_a_line_and_status_2(arguments: list[str], message: str) -> None:
    assert message in run(*arguments, status=2).stderr
