# SPDX-License-Identifier: Apache-2.0
"""The file that tells people of the last change of a share."""

import pytest

from ceilo_agent.coordination.rebalance import Rebalance, record, records

CHANGE = Rebalance(1.5, "ceilo_agent.central", "ctl1", "ctl2 joined", {"ctl1": 1}, 2048, 0, 2048)


def test_the_last_change_is_read_as_it_was_written(tmp_path):
    state = tmp_path / "state"
    kept = record(state, "central")
    assert kept.last() is None
    kept.put(CHANGE)
    assert [each.last() for each in records(state)] == [CHANGE]
    assert [path.name for path in state.iterdir()] == ["share-central.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"time": "soon"}', "\xff"])
def test_a_file_that_says_something_else_is_passed_over(tmp_path, text):
    kept = record(tmp_path, "central")
    kept.path.write_text(text, "latin-1")
    assert kept.last() is None


def test_a_place_that_cannot_be_written_is_told_once_and_stops_nothing(tmp_path, caplog):
    (tmp_path / "state").write_text("a file, no directory")
    kept = record(tmp_path / "state", "central")
    kept.put(CHANGE)
    kept.put(CHANGE)
    assert caplog.text.count("cannot be written") == 1
