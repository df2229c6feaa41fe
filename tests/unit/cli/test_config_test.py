# SPDX-License-Identifier: Apache-2.0
"""`ceilo-agent config test`, through the command itself."""

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from ceilo_agent.cli.config.test import MOST_SHOWN, flow
from ceilo_agent.cli.main import main
from ceilo_agent.definition.document import parse
from ceilo_agent.definition.nodes import plain

ROOT = Path(__file__).parents[3]
SHIPPED = ROOT / "etc" / "pipeline.yaml"
HEAD = """\
sources:
  - {name: guests, interval: 60, meters: [cpu], sinks: [store]}
sinks:
  - {name: store, publishers: ["file:///nowhere/at/all"]}
"""
TESTS = """\
tests:
  - name: what goes in comes out
    given: [{meter: cpu, resource: vm-1, at: 0, volume: 1}]
    expect: [{meter: cpu, resource: vm-1, at: 0, volume: 1}]
  - name: what goes in does not come out
    given:
      - {meter: cpu, resource: vm-1, at: 60, volume: 1}
      - {meter: mem, resource: vm-1, at: 0, volume: 1}
    expect: [{meter: cpu, resource: vm-1, at: 60, volume: 2, unit: ns}, {meter: cpu_util}]
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipeline.yaml").write_text(HEAD + TESTS)

    def run(*words):
        result = CliRunner().invoke(main, ["config", "test", *words], standalone_mode=False)
        if result.exception is not None:
            raise result.exception
        return result.return_value, result.stdout, result.stderr

    return run


def test_a_failure_is_shown_as_a_diff(run):
    code, out, err = run("pipeline.yaml")
    assert (code, err) == (1, "")
    assert out.splitlines() == [
        "pipeline.yaml:9:5: failed: what goes in does not come out",
        "  - expected {meter: cpu, resource: vm-1, at: 60, volume: 2}",
        "  + got      {meter: cpu, resource: vm-1, at: 60, volume: 1}",
        "  missing:",
        "  - expected {meter: cpu_util}",
        "  error: line 12: no source takes the meter 'mem'",
        "  hint: no catalogue has the given meter 'mem' (did you mean 'memory'?)",
        "1 passed, 1 failed",
    ]


def test_all_passed(run):
    assert run("pipeline.yaml", "-k", "comes out") == (0, "1 passed, 0 failed\n", "")


def test_json(run):
    code, out, err = run("pipeline.yaml", "--output", "json")
    assert (code, err) == (1, "")
    found = json.loads(out)
    assert (found["passed"], found["failed"], found["faults"]) == (1, 1, [])
    passed, failed = found["tests"]
    assert passed == {
        "name": "what goes in comes out",
        "file": "pipeline.yaml",
        "line": 6,
        "column": 5,
        "passed": True,
        "differences": [],
        "failures": [],
        "dropped": [],
        "hints": [],
        "notes": [],
    }
    assert failed["passed"] is False
    same = {"meter": "cpu", "resource": "vm-1", "at": 60}
    assert failed["differences"] == [
        {"expected": {**same, "volume": 2}, "got": {**same, "volume": 1}},
        {"expected": {"meter": "cpu_util"}, "got": None},
    ]
    assert failed["failures"] == ["line 12: no source takes the meter 'mem'"]


def test_the_tests_beside_run_too(run):
    Path("pipeline.tests.yaml").write_text(TESTS.replace("name: what", "name: again, what"))
    code, out, _ = run("pipeline.yaml", "-k", "again")
    assert code == 1
    assert out.startswith("pipeline.tests.yaml:5:5: failed: again, what goes in does not come out")
    assert out.endswith("1 passed, 1 failed\n")


@pytest.mark.parametrize("more", ["", "tests: []\n"])
def test_a_file_without_tests(run, more):
    Path("pipeline.yaml").write_text(HEAD + more)
    assert run("pipeline.yaml") == (0, "pipeline.yaml: no tests\n", "")
    code, out, err = run("pipeline.yaml", "--output", "json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {"passed": 0, "failed": 0, "tests": [], "faults": []}


def test_a_file_with_faults(run):
    Path("pipeline.yaml").write_text(HEAD + TESTS.replace("given:", "gives:", 1))
    said = "unknown key 'gives' (did you mean 'given'?)"
    assert run("pipeline.yaml") == (1, "", f"pipeline.yaml:7:5: {said}\n")
    code, out, err = run("pipeline.yaml", "--output", "json")
    assert (code, err) == (1, "")
    (fault,) = json.loads(out)["faults"]
    assert (fault["line"], fault["column"], fault["what"]) == (7, 5, "unknown key 'gives'")


def test_a_name_that_no_test_has_is_wrong_use(run):
    with pytest.raises(click.BadParameter, match="no test's name holds 'nothing'"):
        run("pipeline.yaml", "-k", "nothing")


def test_many_differences_are_cut_off(run):
    many = ", ".join(f"{{meter: cpu, at: {n}}}" for n in range(MOST_SHOWN + 3))
    Path("pipeline.yaml").write_text(
        f"{HEAD}tests:\n  - name: t\n    until: 60\n"
        f"    given: [{{meter: cpu, resource: vm-1, at: 60, volume: 1}}]\n    expect: [{many}]\n"
    )
    lines = run("pipeline.yaml")[1].splitlines()
    assert sum("- expected" in line for line in lines) == MOST_SHOWN
    assert lines[-2:] == ["  ... and 3 more", "0 passed, 1 failed"]


def test_samples_of_which_one_thing_differs_stand_together(run):
    Path("pipeline.yaml").write_text(
        f"{HEAD}tests:\n  - name: t\n    given:\n"
        "      - {meter: cpu, resource: vm-1, at: 60, volume: 1}\n"
        "      - {meter: cpu, resource: vm-3, at: 60, volume: 3}\n"
        "    expect:\n"
        "      - {meter: cpu, resource: vm-9, at: 5, volume: 9}\n"
        "      - {meter: cpu, resource: vm-2, at: 60, volume: 1}\n"
    )
    more = "unit: ns, type: cumulative, sink: store"
    assert run("pipeline.yaml")[1].splitlines()[1:] == [
        "  - expected {meter: cpu, resource: vm-2, at: 60}",
        "  + got      {meter: cpu, resource: vm-1, at: 60}",
        "  missing:",
        "  - expected {meter: cpu, resource: vm-9, at: 5, volume: 9}",
        "  unexpected:",
        f"  + got      {{meter: cpu, resource: vm-3, at: 60, volume: 3, {more}}}",
        "0 passed, 1 failed",
    ]


def test_the_file_in_force(run, tmp_path):
    Path("agent.conf").write_text(f"[DEFAULT]\npipeline_cfg_file = {tmp_path}/pipeline.yaml\n")
    words = ["--config-file", "agent.conf", "config", "test"]
    result = CliRunner().invoke(main, words, standalone_mode=False)
    assert result.return_value == 1
    assert result.stdout.startswith(f"{tmp_path}/pipeline.yaml:9:5: failed: ")


@pytest.mark.parametrize(
    "value",
    [
        {"meter": "disk.device.read.bytes", "at": 60.0, "volume": 1e-7, "unit": "%"},
        {"unit": "", "type": "B/s", "resource": "a: b", "project": None, "on": "on", "x": "1e9"},
        {"metadata": {"a b": [1, True, {"c": "d, e"}], "none": {}, "list": []}, "volume": 2**64},
        {"volume": 1e300, "name": "é\n\"'\\", "resource": "#", "text": "null", "y": "-"},
    ],
)
def test_a_sample_is_shown_as_yaml_that_says_the_same(value):
    shown = flow(value)
    assert "\n" not in shown
    assert plain(parse(shown, "shown").root) == value


def test_exit_codes_of_the_process(run):
    for words, code in [
        ([str(SHIPPED)], 0),
        (["pipeline.yaml"], 1),
        (["none.yaml"], 1),
        (["pipeline.yaml", "-k", "nothing"], 2),
        (["--no-such-option"], 2),
    ]:
        command = [sys.executable, "-c", "from ceilo_agent.cli.main import run; run()"]
        done = subprocess.run(
            [*command, "config", "test", *words], capture_output=True, text=True, check=False
        )
        assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr


def test_meters_of_own_pollsters_have_the_unit_and_the_type_of_their_definition(run, tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    (own / "rooms.yaml").write_text(
        "- {name: room.count, sample_type: cumulative, unit: door, value_attribute: doors,\n"
        "   kind: room, discovery: resources, url_path: rooms}\n"
    )
    options = tmp_path / "agent.conf"
    options.write_text(f"[polling]\npollsters_definitions_dirs = {own}\n")
    text = (
        HEAD.replace("[cpu]", "[room.count]") + TESTS[: TESTS.index("  - name: what goes in does")]
    )
    unit = "volume: 1, unit: door, type: cumulative, resource_type: room}"
    text = text.replace("cpu", "room.count").replace("volume: 1}", unit)
    (tmp_path / "pipeline.yaml").write_text(text.replace(unit, "volume: 1}", 1))
    words = ["--config-file", str(options), "config", "test", "pipeline.yaml"]
    result = CliRunner().invoke(main, words, standalone_mode=False)
    assert (result.return_value, result.stdout) == (0, "1 passed, 0 failed\n")
    assert run("pipeline.yaml")[0] == 1, "without the definition the unit is not known"
