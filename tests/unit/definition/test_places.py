# SPDX-License-Identifier: Apache-2.0
"""Where the pipeline file is looked for."""

import pytest

from ceilo_agent import options
from ceilo_agent.definition import places
from ceilo_agent.errors import ConfigError


@pytest.fixture
def candidates(tmp_path, monkeypatch):
    found = [tmp_path / name / "pipeline.yaml" for name in ("etc", "source", "installed")]
    for path in found:
        path.parent.mkdir()
    monkeypatch.setattr(options, "PIPELINE_PLACES", tuple(found[:2]))
    monkeypatch.setattr(places, "INSTALLED", found[2])
    return found


def test_first_that_exists(candidates):
    conf = options.parse([])
    for path in reversed(candidates):
        path.write_text("")
        assert places.find_pipeline_file(conf) == path


def test_option_goes_first_and_has_no_substitute(candidates, tmp_path):
    candidates[0].write_text("")
    chosen = tmp_path / "mine.yaml"
    conf = options.parse([], {"DEFAULT.pipeline_cfg_file": str(chosen)})
    assert places.find_pipeline_file(conf) == chosen


def test_none(candidates):
    with pytest.raises(ConfigError) as caught:
        places.find_pipeline_file(options.parse([]))
    assert str(caught.value) == (
        f"pipeline.yaml: no pipeline file at {candidates[0]}, {candidates[1]}, {candidates[2]} "
        "(name one with pipeline_cfg_file in [DEFAULT])"
    )


def test_a_file_that_cannot_be_looked_at_has_no_substitute(candidates):
    candidates[1].write_text("")
    candidates[0].parent.rmdir()
    candidates[0].parent.symlink_to(candidates[0].parent)  # a loop: an error that is not "missing"
    assert places.find_pipeline_file(options.parse([])) == candidates[0]
