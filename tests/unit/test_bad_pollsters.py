# SPDX-License-Identifier: Apache-2.0
"""Every file in tests/bad_pollsters gives exactly the faults that its first lines name."""

from __future__ import annotations

from pathlib import Path

import pytest

from ceilo_agent.definition.pollsters import examine, load
from ceilo_agent.errors import ConfigError

FILES = sorted((Path(__file__).parent.parent / "bad_pollsters").glob("*.yaml"))
MARK = "# expect: "


def test_there_are_files() -> None:
    assert len(FILES) >= 100


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_bad_file(path: Path) -> None:
    lines = path.read_text("utf-8").splitlines()
    expected = [line.removeprefix(MARK) for line in lines if line.startswith(MARK)]
    assert expected, f"{path} does not say what to expect"
    told = [str(fault).removeprefix(f"{path}:") for fault in examine([path]).faults]
    assert [each.strip().replace(str(path), "FILE") for each in told] == expected
    with pytest.raises(ConfigError) as caught:
        load([path])
    assert "geheim" not in str(caught.value)
    assert "secret@" not in str(caught.value)
