# SPDX-License-Identifier: Apache-2.0
"""Every file in tests/bad gives exactly the faults that its first lines name."""

from pathlib import Path

import pytest

from ceilo_agent.definition.pipeline import load, unknown_meters
from ceilo_agent.errors import ConfigError
from ceilo_agent.meters.catalogue import known
from tests.unit.definition import probes

FILES = sorted((Path(__file__).parent.parent / "bad").glob("*.yaml"))
MARK = "# expect: "


@pytest.fixture(scope="module", autouse=True)
def plugins_of_others(tmp_path_factory):
    with probes.installed(tmp_path_factory.mktemp("probes")):
        yield


def faults(path):
    try:
        found = unknown_meters(load(path), known())
    except ConfigError as error:
        found = error.faults
    return [str(fault).removeprefix(f"{path}:").strip() for fault in found]


def test_there_are_files():
    assert len(FILES) >= 30


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_bad_file(path):
    lines = path.read_text("utf-8").splitlines()
    expected = [line.removeprefix(MARK) for line in lines if line.startswith(MARK)]
    assert expected, f"{path} does not say what to expect"
    assert faults(path) == expected
