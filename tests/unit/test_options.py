# SPDX-License-Identifier: Apache-2.0
"""Options: names, precedence, and what is said of wrong ones."""

import pytest

from ceilo_agent import options
from ceilo_agent.errors import ConfigError


def write(tmp_path, text):
    path = tmp_path / "agent.conf"
    path.write_text(text)
    return str(path)


def faults(path):
    with pytest.raises(ConfigError) as caught:
        options.parse([path])
    return [str(fault) for fault in caught.value.faults]


def test_the_command_line_wins_over_the_file_and_the_file_over_the_default(tmp_path):
    path = write(tmp_path, "[polling]\ninterval = 7\nnamespaces = host\n")
    conf = options.parse([path], {"polling.interval": 3, "polling.namespaces": None})
    assert conf.polling.interval == 3
    assert conf.polling.namespaces == ["host"]
    assert conf.store.max_bytes == 1 << 30


def test_directories_of_definitions_are_taken_from_where_ceilometer_has_them(tmp_path):
    path = write(tmp_path, "[DEFAULT]\npollsters_definitions_dirs = /one\n")
    found = options.parse([path])
    assert found.polling.pollsters_definitions_dirs == ["/one"]
    assert options.unknown(found) == []


def test_every_wrong_value_is_told_with_its_line(tmp_path):
    path = write(tmp_path, "[polling]\ninterval = often\n\n[store]\nmax_age = 5\nmax_bytes=x\n")
    assert faults(path) == [
        f"{path}:2:1: [polling] interval: a whole number was expected, found 'often'",
        f"{path}:5:1: [store] max_age: at least 60 was expected",
        f"{path}:6:1: [store] max_bytes: a whole number was expected, found 'x'",
    ]


@pytest.mark.parametrize(
    ("section", "line", "words"),
    [
        ("delivery", "max_bytes = 1 GB", "a whole number was expected, found '1 GB'"),
        ("delivery", "max_bytes = 1000", "at least 1048576 was expected"),
        ("polling", "interval = 100000", "at most 86400 was expected"),
        ("libvirt", "call_timeout = 2s", "a number was expected, found '2s'"),
        ("libvirt", "call_timeout = 0", "at least 0.1 was expected"),
        ("DEFAULT", "debug = maybe", "true or false was expected, found 'maybe'"),
    ],
)
def test_what_was_expected_is_told_in_words_for_people(tmp_path, section, line, words):
    path = write(tmp_path, f"[{section}]\n{line}\n")
    name = line.partition(" ")[0]
    assert faults(path) == [f"{path}:2:1: [{section}] {name}: {words}"]


@pytest.mark.parametrize("text", ["no section\n", "[polling]\nno value\n"])
def test_a_file_that_is_no_configuration_is_told_by_name(tmp_path, text):
    path = write(tmp_path, text)
    (told,) = faults(path)
    assert path in told


def test_a_file_that_is_not_there_is_told_by_name(tmp_path):
    (told,) = faults(str(tmp_path / "nowhere.conf"))
    assert "nowhere.conf" in told


def test_what_is_no_text_or_refers_to_nothing_is_told(tmp_path):
    path = tmp_path / "agent.conf"
    path.write_bytes(b"[DEFAULT]\nhost = \xff\xfe\n")
    assert str(path) in faults(str(path))[0]
    path = write(tmp_path, "[DEFAULT]\nhost = $foo\n")
    what = "[DEFAULT] host: '$' refers to an option that is not there"
    assert faults(path) == [f"{path}:2:1: {what} (write $$ for a dollar sign)"]


def test_unknown_options_are_told_and_no_fault(tmp_path):
    path = write(tmp_path, "[polling]\nintervall = 5\n[libvrt]\nuri = x\n[DEFAULT]\ndebug=1\n")
    assert [str(fault) for fault in options.unknown(options.parse([path]))] == [
        f"{path}:2:1: [polling] has no option 'intervall' (did you mean 'interval'?)",
        f"{path}:3:1: no section is named [libvrt] (did you mean 'libvirt'?)",
    ]


def test_places_follow_the_state_path(tmp_path):
    conf = options.parse([write(tmp_path, f"[DEFAULT]\nstate_path = {tmp_path}/s\nhost = h\n")])
    assert options.store_path(conf) == tmp_path / "s" / "store.db"
    values = options.values(conf)
    assert values["DEFAULT.host"] == "h"
    assert values["store.path"] == f"{tmp_path}/s/store.db"


def test_every_option_has_a_help_text():
    for group in options.GROUPS.values():
        for option in group:
            assert option.help
            assert option.help.endswith(".")


@pytest.mark.parametrize("group", ["service_credentials", "gnocchi"])
def test_secrets_are_marked_as_such(group):
    marked = {option.name for option in options.GROUPS[group] if option.secret}
    assert marked == {"password", "token", "application_credential_secret"}
