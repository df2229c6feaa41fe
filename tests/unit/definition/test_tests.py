# SPDX-License-Identifier: Apache-2.0
"""What the tests of a pipeline file are read as; tests/bad holds the mistakes."""

import pytest
from msgspec import UNSET

from ceilo_agent.definition.pipeline import load
from ceilo_agent.definition.tests import LATEST, MOST_SAMPLES, MOST_TESTS
from ceilo_agent.errors import ConfigError
from ceilo_agent.sample import SampleType

HEAD = """\
sources:
  - {name: guests, interval: 60, meters: [cpu], sinks: [store]}
sinks:
  - {name: store, publishers: ["local://"]}
"""
SAMPLE = "{meter: cpu, resource: vm-1, at: 0, volume: 1}"
FULL = """\
tests:
  - name: all that can be written
    source: guests
    given:
      - {meter: cpu, resource: vm-1, at: 0, volume: 18446744073709551615}
      - {meter: x, resource: vm-1, at: 1.5, volume: -2.5, unit: K, type: delta, project: blue,
         user: ann, metadata: {a: {b: [1, null]}}, resource_type: rack, source: guests,
         untracked: true}
      - {meter: cpu, resource: vm-1, at: 2, volume: 0, project: , restarted: true}
    until: 86400
    meters: ["cpu*", x]
    expect:
      - {meter: cpu}
      - {meter: x, resource: vm-1, at: 3, volume: 1e3, unit: '', type: gauge, sink: store,
         project: null, user: ann, metadata: {}, resource_type: rack}
"""


@pytest.fixture
def write(tmp_path):
    def write(text, name="pipeline.yaml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def faults(path):
    with pytest.raises(ConfigError) as refused:
        load(path)
    return [str(fault).removeprefix(f"{path.parent}/") for fault in refused.value.faults]


def test_all_that_can_be_written(write):
    path = write(HEAD + FULL)
    (case,) = load(path).tests
    assert (case.name, case.file, case.position) == (
        "all that can be written",
        str(path),
        (6, 5),
    )
    assert (case.source, case.until, case.meters) == ("guests", 86400, ("cpu*", "x"))
    plain, full, again = case.given
    assert (plain.meter, plain.resource, plain.at) == ("cpu", "vm-1", 0)
    assert plain.volume == 2**64 - 1
    assert plain.type is plain.unit is plain.project is plain.metadata is plain.source is UNSET
    assert (plain.untracked, plain.restarted) == (False, False)
    assert (full.at, full.volume, full.unit, full.type) == (1.5, -2.5, "K", SampleType.DELTA)
    assert (full.project, full.user, full.resource_type) == ("blue", "ann", "rack")
    assert (full.metadata, full.source) == ({"a": {"b": [1, None]}}, "guests")
    assert full.untracked
    assert again.project is None, "written, so that it has none"
    assert again.restarted
    bare, written = case.expect
    assert bare.resource is bare.at is bare.volume is bare.sink is UNSET
    assert (written.volume, written.unit, written.type) == (1000, "", SampleType.GAUGE)
    assert (written.project, written.sink, written.metadata) == (None, "store", {})


def test_only_what_is_needed(write):
    (case,) = load(write(f"{HEAD}tests: [{{name: t, given: [{SAMPLE}], expect: []}}]\n")).tests
    assert (case.source, case.until, case.meters, case.expect) == (None, None, (), ())


@pytest.mark.parametrize("more", ["", "tests:\n", "tests: []\n"])
def test_no_tests(write, more):
    found = load(write(HEAD + more))
    assert (found.tests, found.warnings) == ((), ())


def test_tests_are_no_reason_to_warn(write):
    assert load(write(HEAD + FULL)).warnings == ()


def test_tests_beside_come_after_those_of_the_file(write):
    path = write(HEAD + FULL, "guests.yaml")
    beside = write(f"tests: [{{name: t, given: [{SAMPLE}], expect: []}}]\n", "guests.tests.yaml")
    first, second = load(path).tests
    assert (first.file, second.file) == (str(path), str(beside))
    assert (second.name, second.position) == ("t", (1, 9))


def test_mistakes_beside_are_told_with_their_file(write):
    path = write(HEAD + FULL)
    write(
        "tests:\n"
        "  - {name: t, source: gests, given: [], expect: []}\n"
        "  - {name: all that can be written, given: [{}], expect: []}\n"
        "sources: []\n",
        "pipeline.tests.yaml",
    )
    assert faults(path) == [
        "pipeline.tests.yaml:2:23: no source is named 'gests' (did you mean 'guests'?)",
        "pipeline.tests.yaml:2:37: the test gives no sample",
        (
            "pipeline.tests.yaml:3:12: duplicate test name 'all that can be written' "
            f"(first in line 6 of {path})"
        ),
        "pipeline.tests.yaml:3:45: the key 'at' is missing",
        "pipeline.tests.yaml:3:45: the key 'meter' is missing",
        "pipeline.tests.yaml:3:45: the key 'resource' is missing",
        "pipeline.tests.yaml:3:45: the key 'volume' is missing",
        "pipeline.tests.yaml:4:1: unknown key 'sources'",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- cpu\n", ":1:1: a mapping with tests was expected, found a list"),
        ("# none\n", ": the file is empty"),
        ("test: []\n", ":1:1: unknown key 'test' (did you mean 'tests'?)"),
        ("tests: [\n", ":2:1: a value was expected here"),
        ("a: 1\na: 2\n", ":1:1: unknown key 'a'"),
    ],
)
def test_what_is_no_file_of_tests(write, text, said):
    path = write(HEAD)
    write(text, "pipeline.tests.yaml")
    assert f"pipeline.tests.yaml{said}" in faults(path)


def test_a_directory_beside_is_no_file_of_tests(write, tmp_path):
    path = write(HEAD)
    (tmp_path / "pipeline.tests.yaml").mkdir()
    assert faults(path) == ["pipeline.tests.yaml: a file was expected, this is a directory"]


def test_mistakes_of_both_files_are_told_at_once(write):
    path = write(HEAD + "tests: [cpu]\n")
    write("tests: [cpu]\n", "pipeline.tests.yaml")
    said = "a test (name, given, expect) was expected, found the text 'cpu'"
    assert faults(path) == [f"pipeline.tests.yaml:1:9: {said}", f"pipeline.yaml:5:9: {said}"]


def test_names_are_not_compared_with_those_that_a_mistake_hides(write):
    text = HEAD.replace("name: guests", "nam: guests").replace("name: store", "nam: store")
    sample = f"{SAMPLE[:-1]}, sink: s}}"
    found = faults(
        write(f"{text}tests: [{{name: t, source: s, given: [{SAMPLE}], expect: [{sample}]}}]\n")
    )
    assert [fault.partition(": ")[2] for fault in found] == [
        "unknown key 'nam' (did you mean 'name'?)",
        "unknown key 'nam' (did you mean 'name'?)",
    ]


def test_bounds(write):
    one = f"given: [{SAMPLE}], expect: []"
    most = "".join(f"- {{name: t{n}, {one}}}\n" for n in range(MOST_TESTS))
    assert len(load(write(f"{HEAD}tests:\n{most}")).tests) == MOST_TESTS
    assert faults(write(f"{HEAD}tests:\n{most}- {{name: one more, {one}}}\n")) == [
        f"pipeline.yaml:{MOST_TESTS + 6}:3: more than {MOST_TESTS} tests"
    ]
    many = "".join(f"    - {SAMPLE}\n" for _ in range(MOST_SAMPLES + 1))
    assert faults(write(f"{HEAD}tests:\n- name: t\n  given:\n{many}  expect: []\n")) == [
        f"pipeline.yaml:{MOST_SAMPLES + 8}:7: given: more than {MOST_SAMPLES} samples"
    ]


def test_the_clock_goes_up_to_its_last_second(write):
    text = f"{HEAD}tests: [{{name: t, given: [{SAMPLE}], until: {LATEST}, expect: []}}]\n"
    assert load(write(text)).tests[0].until == LATEST
    assert "until: a number from 0 to" in faults(write(text.replace("until: ", "until: 1")))[0]
