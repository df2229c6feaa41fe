# SPDX-License-Identifier: Apache-2.0
"""Every file in tests/bad gives exactly the faults that its first lines name."""

from pathlib import Path

import pytest

from ceilo_agent.definition.pipeline import Role
from ceilo_agent.pipeline.checking import check
from tests.unit.definition import probes

FILES = sorted((Path(__file__).parent.parent / "bad").glob("*.yaml"))
MARK = "# expect: "
ROLE = "# role: "
"""What a file is read for; without it, local."""


@pytest.fixture(scope="module", autouse=True)
def plugins_of_others(tmp_path_factory):
    with probes.installed(tmp_path_factory.mktemp("probes")):
        yield


def faults(path, role):
    return [str(fault).removeprefix(f"{path}:").strip() for fault in check(path, role).faults]


def test_there_are_files():
    assert len(FILES) >= 30


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_bad_file(path):
    lines = path.read_text("utf-8").splitlines()
    expected = [line.removeprefix(MARK) for line in lines if line.startswith(MARK)]
    assert expected, f"{path} does not say what to expect"
    roles = [line.removeprefix(ROLE) for line in lines if line.startswith(ROLE)]
    assert faults(path, Role(*roles or ["local"])) == expected
