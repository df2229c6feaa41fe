# SPDX-License-Identifier: Apache-2.0
"""Every file in tests/bad gives exactly the faults that its first lines name."""

from pathlib import Path

import pytest

from ceilo_agent.definition.pipeline import Role
from ceilo_agent.pipeline.checking import check
from ceilo_agent.pipeline.sharing import Sharing, unshared
from tests.unit.definition import probes

BAD = Path(__file__).parent.parent / "bad"
FILES = sorted(BAD.glob("*.yaml"))
MARK = "# expect: "
ROLE = "# role: "
"""What a file is read for; without it, local."""
SHARED = "# shared: "
"""With how many workers and queues; without it, one each."""


@pytest.fixture(scope="module", autouse=True)
def plugins_of_others(tmp_path_factory):
    with probes.installed(tmp_path_factory.mktemp("probes")):
        yield


def told(path):
    """Return what is said of a file, read for the role that it names."""
    lines = path.read_text("utf-8").splitlines()
    roles = [line.removeprefix(ROLE) for line in lines if line.startswith(ROLE)]
    shared = [line.removeprefix(SHARED).split() for line in lines if line.startswith(SHARED)]
    report = check(path, Role(*roles or ["local"]))
    faults = report.faults
    if report.file is not None and shared:
        faults = sorted([*faults, *unshared(report.file, Sharing(*map(int, *shared))).faults])
    return [str(fault).removeprefix(f"{path}:").strip() for fault in faults]


def test_there_are_files():
    assert len(FILES) >= 300


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_bad_file(path):
    lines = path.read_text("utf-8").splitlines()
    expected = [line.removeprefix(MARK) for line in lines if line.startswith(MARK)]
    assert expected, f"{path} does not say what to expect"
    assert told(path) == expected


# -- what Ceilometer said of the same mistakes -----------------------------------------------------

ERRORS = [
    ("Both sources & sinks are required", "sources_missing", "'sources:' is missing"),
    ("Both sources & sinks are required", "ceilometer_polling", "'sinks:' is missing"),
    ("Both sources & sinks are required", "sources_empty", "both sources and sinks are required"),
    ("Duplicated source names", "duplicate_source", "duplicate source name 'guests'"),
    ("Duplicated sink names", "duplicate_sink", "duplicate sink name 'store'"),
    ("Required field name not specified", "source_without_name", "the key 'name' is missing"),
    ("Required field name not specified", "sink_without_name", "the key 'name' is missing"),
    ("Invalid interval value", "interval_words", "interval: a whole number of seconds"),
    ("Interval value should > 0", "interval_zero", "interval: a whole number of seconds"),
    ("Interval value should > 0", "interval_negative", "interval: a whole number of seconds"),
    ("Resources should be a list", "resources_text", "resources: a list was expected"),
    ("Discovery should be a list", "discovery_text", "discovery: a list was expected"),
    ("No meters specified", "meters_empty", "no meters are listed"),
    ("No meters specified", "source_without_meters", "the key 'meters' is missing"),
    (
        "Both included and excluded meters specified",
        "meters_included_and_excluded",
        "both included and excluded meters are listed",
    ),
    (
        "Included meters specified with wildcard",
        "meters_all_and_one",
        "'cpu' is listed beside '*', which takes all",
    ),
    ("No sink defined in source", "source_sinks_empty", "the source 'guests' names no sink"),
    ("No sink defined in source", "source_without_sinks", "the key 'sinks' is missing"),
    ("Dangling sink X from source Y", "dangling_sink", "dangling sink 'stor' from source 'guests'"),
    ("No publisher specified", "publishers_empty", "the sink 'store' has no publisher"),
    ("No publisher specified", "sink_without_publishers", "the key 'publishers' is missing"),
    ("No transformer named X loaded", "transformer_unknown", "no transformer is named 'prob'"),
    ("Duplicate pipeline name", "sink_twice", "the sink 'store' stands twice in source 'guests'"),
]
"""What Ceilometer said, a file with that mistake, and what is said of it here."""

SILENCE = [
    ("unknown keys, in a source", "unknown_key_in_source", "unknown key 'intervall'"),
    ("unknown keys, in a sink", "unknown_key_in_sink", "unknown key 'publisher'"),
    ("unknown keys, at the top", "unknown_section", "unknown key 'sink'"),
    ("unknown keys, in polling.yaml", "role_polling_unknown_key", "unknown key 'intervall'"),
    ("an unknown meter", "meter_unknown", "no meter is named 'memroy.usage'"),
    ("a glob that is no meter's", "meter_glob_unknown", "no meter matches 'hardwre.*'"),
    ("a publisher that is none (logged)", "publisher_unknown_scheme", "no publisher is named"),
    ("a publisher that fails (logged)", "publisher_broken_plugin", "cannot be loaded"),
    ("an unknown option of a publisher", "publisher_option_unknown", "unknown option 'max_byte'"),
    ("a text for meters", "meters_text", "a list of meter names was expected"),
    ("a text for meters, in polling.yaml", "role_polling_meters_text", "a list of meter names"),
    (
        "a typo in a parameter",
        "aggregator_retention_misspelt",
        "unknown parameter 'retension_time'",
    ),
    ("a typo in a parameter", "rate_unknown", "unknown parameter 'scale'"),
    ("a typo in a parameter", "unit_conversion_unknown", "unknown parameter 'sorce'"),
    ("a typo in a parameter", "delta_unknown", "unknown parameter 'growth-only'"),
    ("a typo in a parameter", "accumulator_unknown", "unknown parameter 'sise'"),
    ("a parameter of others", "arithmetic_source", "unknown parameter 'source'"),
    ("an empty scale", "unit_conversion_scale_empty", "the expression is empty"),
    ("a scale of 0", "unit_conversion_scale_zero", "a scale of 0 makes every volume 0"),
    ("half a map", "unit_conversion_map_from_alone", "source.map_from.name needs target.map_to"),
    ("half a map", "unit_conversion_map_to_alone", "target.map_to.unit needs source.map_from"),
    ("a wrong regular expression", "pattern_unclosed", "no regular expression"),
    ("a group that is not there", "pattern_group", "invalid group reference 2"),
    ("a delta's unit, type and scale", "delta_unit", "unknown parameter 'unit'"),
    ("a policy that is none (logged)", "aggregator_policy_owner", "one of first, last"),
    ("a policy that is none (logged)", "aggregator_policy_metadata", "one of drop, first, last"),
    ("a timestamp that is none", "aggregator_timestamp", "one of first, last was expected"),
    ("no $(meter) (logged)", "arithmetic_without_meter", "an expression of meters, $(name)"),
    ("a name that there is not", "expression_unknown_name", "unknown name 'volme'"),
    ("triggers of a sink", "triggers", "the key 'triggers' is not supported"),
    ("events of a source", "events", "the key 'events' is not supported"),
    ("names twice in polling.yaml", "role_polling_duplicate_source", "duplicate source name"),
    (
        "code in polling.yaml (run)",
        "coordination_expression",
        "the key 'group_id_coordination_expression' is not supported",
    ),
]
"""What Ceilometer let pass without an error, a file with it, and what is said of it here."""

TRACEBACKS = [
    ("a step without parameters", "arithmetic_without_parameters", "the parameter 'target' is"),
    ("a step without a name", "transformer_without_name", "the key 'name' is missing"),
    ("an empty file", "only_comments", "the file is empty"),
    ("a size that is no number", "aggregator_size_text", "parameter 'size': a whole number"),
]
"""What ended Ceilometer with a KeyError, TypeError or ValueError, and the same here."""


@pytest.mark.parametrize(("theirs", "stem", "ours"), ERRORS)
def test_every_error_of_ceilometer_is_one_here(theirs, stem, ours):
    """Ceilometer: one PipelineException with this text, and only the first. Here: with its line."""
    (first, *_) = told(BAD / f"{stem}.yaml")
    assert ours in first


@pytest.mark.parametrize(("theirs", "stem", "ours"), SILENCE)
def test_what_ceilometer_passed_over_is_an_error_here(theirs, stem, ours):
    """Ceilometer: no error; the file was taken with less than it says. Here: refused."""
    assert any(ours in each for each in told(BAD / f"{stem}.yaml"))


@pytest.mark.parametrize(("theirs", "stem", "ours"), TRACEBACKS)
def test_what_gave_ceilometer_a_traceback_is_a_line_here(theirs, stem, ours):
    """Ceilometer: an exception of Python's. Here: one line."""
    (only,) = told(BAD / f"{stem}.yaml")
    assert ours in only
