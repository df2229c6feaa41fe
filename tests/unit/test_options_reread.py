# SPDX-License-Identifier: Apache-2.0
"""Configuration files that are read again while an agent runs."""

import pytest

from ceilo_agent import options
from ceilo_agent.errors import ConfigError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "agent.conf"


def test_an_option_that_may_change_does_and_another_waits_for_a_restart(path):
    path.write_text("[polling]\ninterval = 5\n[store]\nmax_age = 100\n")
    conf = options.parse([str(path)])
    path.write_text("[polling]\ninterval = 7\n[store]\nmax_age = 200\n[DEFAULT]\ndebug = true\n")
    again = options.reread(conf)
    assert again.changed == ("DEFAULT.debug", "polling.interval")
    assert again.fixed == ("store.max_age",)
    assert (again.conf.polling.interval, again.conf.store.max_age) == (7, 100)
    assert (conf.polling.interval, conf.debug) == (5, False), "what is in force stays as it is"
    path.write_text("")
    last = options.reread(again.conf).conf
    assert (last.polling.interval, last.store.max_age, last.debug) == (None, 100, False)


def test_the_command_line_still_wins(path):
    path.write_text("[polling]\ninterval = 5\n")
    conf = options.parse([str(path)], {"polling.interval": 3, "polling.namespaces": ["host"]})
    path.write_text("[polling]\ninterval = 7\nnamespaces = compute\n")
    again = options.reread(conf)
    assert (again.changed, again.fixed) == ((), ())
    assert again.conf.polling.interval == 3
    assert again.conf.polling.namespaces == ["host"]


def test_a_mistake_is_told_with_its_line(path):
    path.write_text("[polling]\ninterval = 5\n")
    conf = options.parse([str(path)])
    path.write_text("[polling]\ninterval = often\n")
    with pytest.raises(ConfigError, match=rf"{path}:2:1: \[polling\] interval"):
        options.reread(conf)
    path.unlink()
    with pytest.raises(ConfigError, match=str(path)):
        options.reread(conf)


def test_the_options_that_may_change_are_those_of_the_documentation():
    found = [
        f"[{group}] {option.name}"
        for group, declared in options.GROUPS.items()
        for option in declared
        if option.mutable
    ]
    assert found == [
        "[DEFAULT] pipeline_cfg_file",
        "[DEFAULT] debug",
        "[polling] cfg_file",
        "[polling] namespaces",
        "[polling] interval",
        "[notification] workers",
        "[publisher] telemetry_secret",
        "[publisher] previous_telemetry_secret",
        "[delivery] max_bytes",
        "[delivery] max_samples",
        "[delivery] max_age",
    ]


def test_a_file_that_goes_away_or_is_half_written_afterwards_is_no_fault(path):
    path.write_text("[polling]\nintervall = 5\n")
    conf = options.parse([str(path)])
    assert len(options.unknown(conf)) == 1
    path.write_text("[poll")
    assert options.unknown(conf) == []
    path.write_bytes(b"[polling]\ninterval = \xff\n")
    assert options.unknown(conf) == []
    path.unlink()
    assert options.unknown(conf) == []
