# SPDX-License-Identifier: Apache-2.0
"""Last readings over a restart of the agent."""

import logging

import msgspec
import pytest

from ceilo_agent.polling.saved import SavedReadings
from ceilo_agent.polling.tracker import Tracker
from ceilo_agent.sample import FIRST, Previous
from tests.unit.polling.test_tracker import PLAIN, everything, seen


def read_once(path, clock, volume):
    tracker = Tracker("s", everything, 10)
    saved = SavedReadings(path)
    saved.load({"s": tracker})
    _, counter = tracker.samples([seen(PLAIN, 1, volume, clock=clock)])
    saved.save({"s": tracker})
    return counter


def test_a_restart_of_the_agent_keeps_the_pair(tmp_path):
    path = tmp_path / "state" / "readings.msgpack"
    assert read_once(path, 5.0, 10).previous is FIRST
    again = read_once(path, 15.0, 30)
    assert again.previous == Previous(10.0, 10)
    assert again.started == 1005.0


def test_readings_of_another_boot_are_not_used(tmp_path):
    path = tmp_path / "readings.msgpack"
    read_once(path, 5.0, 10)
    document = msgspec.msgpack.decode(path.read_bytes())
    document["boot"] = "another"
    path.write_bytes(msgspec.msgpack.encode(document))
    assert read_once(path, 15.0, 30).previous is FIRST


@pytest.mark.parametrize("content", [b"", b"\xff" * 100, b"\x80", b"\x83\xa7version\x01"])
def test_a_broken_file_is_told_and_passed_over(tmp_path, caplog, content):
    path = tmp_path / "readings.msgpack"
    path.write_bytes(content)
    assert read_once(path, 15.0, 30).previous is FIRST
    assert "rates begin anew" in caplog.text
    assert read_once(path, 25.0, 40).previous == Previous(10.0, 30)


def test_a_place_that_cannot_be_written_is_told_once(tmp_path, caplog):
    blocker = tmp_path / "file"
    blocker.write_text("")
    with caplog.at_level(logging.WARNING):
        saved = SavedReadings(blocker / "readings.msgpack")
        saved.save({})
        saved.save({})
    assert caplog.text.count("cannot be kept over a restart") == 1


def test_a_file_that_does_not_fit_together_is_told_and_passed_over(tmp_path, caplog):
    path = tmp_path / "readings.msgpack"
    read_once(path, 5.0, 10)
    document = msgspec.msgpack.decode(path.read_bytes())
    for names in ([], [["g"]]):
        document["sources"]["s"]["names"] = names
        path.write_bytes(msgspec.msgpack.encode(document))
        caplog.clear()
        read_once(tmp_path / "copy", 1.0, 1)
        path.replace(tmp_path / "copy")
        assert read_once(tmp_path / "copy", 15.0, 30).previous is FIRST
        assert "rates begin anew" in caplog.text


def test_a_volume_that_cannot_be_kept_is_told_once_and_stops_nothing(tmp_path, caplog):
    tracker = Tracker("s", everything, 10)
    tracker.samples([seen(PLAIN, 1, 2**64, clock=5.0)])
    saved = SavedReadings(tmp_path / "readings.msgpack")
    saved.save({"s": tracker})
    saved.save({"s": tracker})
    assert caplog.text.count("cannot be kept over a restart") == 1


def test_no_half_file_is_left(tmp_path):
    path = tmp_path / "readings.msgpack"
    read_once(path, 5.0, 10)
    assert [found.name for found in tmp_path.iterdir()] == ["readings.msgpack"]
