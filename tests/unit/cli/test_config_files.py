# SPDX-License-Identifier: Apache-2.0
"""`ceilo-agent config check --role`, `config graph` and `config schema`, through the commands."""

import io
import json
import re
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner

from ceilo_agent.cli.main import main
from tests.pages import ROOT, blocks

PIPELINE = """\
sources:
  - {name: meter_source, meters: ["*"], sinks: [meter_sink]}
sinks:
  - {name: meter_sink, publishers: [console]}
"""
POLLING = """\
sources:
  - {name: some_pollsters, interval: 300, meters: [cpu, memory.usage]}
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipeline.yaml").write_text(PIPELINE)
    (tmp_path / "polling.yaml").write_text(POLLING)
    (tmp_path / "agent.conf").write_text(
        "[DEFAULT]\npipeline_cfg_file = pipeline.yaml\n[polling]\ncfg_file = polling.yaml\n"
    )

    def run(*words, charset="utf-8"):
        result = CliRunner(charset=charset).invoke(main, list(words), standalone_mode=False)
        assert result.exception is None, result.exception
        return result.return_value, result.stdout, result.stderr

    return run


# -- check ---------------------------------------------------------------------------------------


def test_check_for_a_role(run):
    assert run("config", "check", "--role", "polling", "polling.yaml") == (
        0,
        "polling.yaml: 1 source, 0 sinks, 2 meters, no faults\n",
        "",
    )
    code, out, err = run("config", "check", "--role", "notification", "polling.yaml")
    assert (code, out) == (1, "")
    assert err.startswith("polling.yaml:1:1: 'sinks:' is missing")
    code, _, err = run("config", "check", "--role", "notification", "pipeline.yaml")
    assert (code, err) == (0, "")
    code, _, err = run("config", "check", "pipeline.yaml")
    assert (code, err) == (
        0,
        "pipeline.yaml:1:1: warning: no source has an interval: nothing is polled\n",
    )


def test_check_of_both_files_in_force(run):
    code, out, err = run("--config-file", "agent.conf", "config", "check")
    assert (code, err) == (0, "")
    assert [line.partition(":")[0] for line in out.splitlines()] == [
        "polling.yaml",
        "pipeline.yaml",
    ]
    code, out, _ = run("--config-file", "agent.conf", "config", "check", "--role", "polling")
    assert (code, out.count("\n")) == (0, 1)


def test_check_tells_the_faults_of_both_files(run):
    Path("polling.yaml").write_text(POLLING.replace("cpu", "cpy"))
    Path("pipeline.yaml").write_text(PIPELINE.replace("[console]", "[consol]"))
    code, out, err = run("--config-file", "agent.conf", "config", "check")
    assert (code, out) == (1, "")
    assert [line.partition(": ")[0] for line in err.splitlines()] == [
        "polling.yaml:2:52",
        "pipeline.yaml:4:37",
    ]


def test_check_tells_structure_meters_and_tests_in_one_pass(run):
    Path("wrong.yaml").write_text(
        "sources:\n"
        "  - {name: a, intervall: 60, meters: [cpy], sinks: [s]}\n"
        "sinks:\n"
        "  - {name: s, transformers: [{name: rate_of_chance}], publishers: ['local://?max_age=x']}\n"
    )
    code, _, err = run("config", "check", "wrong.yaml")
    assert code == 1
    assert [line.split(" ")[0] for line in err.splitlines()] == [
        "wrong.yaml:2:15:",
        "wrong.yaml:2:39:",
        "wrong.yaml:4:37:",
        "wrong.yaml:4:68:",
    ]


def test_json_for_editors_keeps_its_keys(run):
    Path("warned.yaml").write_text(PIPELINE + "publishers: {spare: console}\n")
    code, out, err = run("config", "check", "warned.yaml", "--output", "json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert [(each["severity"], each["line"], each["column"]) for each in found] == [
        ("warning", 1, 1),
        ("warning", 5, 14),
    ]
    keys = {"file", "line", "column", "what", "hint", "severity"}
    assert all(each.keys() == keys for each in found)


def test_warnings_are_told_in_the_words_of_the_documentation(run):
    page = {block.name: block.text for block in blocks(ROOT / "doc" / "source" / "checking.rst")}
    Path("pipeline.yaml").write_text(page["faulty-warnings-file"])
    _, *said = page["faulty-warnings-output"].splitlines()
    code, out, err = run("config", "check", "pipeline.yaml")
    assert (code, err.splitlines()) == (0, said)
    assert out.endswith(f" meters, no faults, {len(said)} warnings\n")


def test_the_documented_keys_are_those_of_the_json(run):
    page = (ROOT / "doc" / "source" / "checking.rst").read_text("utf-8")
    table = page.partition("In an editor\n")[2].partition("Most editors")[0]
    keys = [key for row in re.findall(r"^   \* - (``.*)$", table, re.M) for key in row.split(", ")]
    _, out, _ = run("config", "check", "polling.yaml", "--output", "json")
    assert {key.strip("`") for key in keys} == json.loads(out)[0].keys()


# -- graph ---------------------------------------------------------------------------------------


def test_graph(run):
    code, out, err = run("config", "graph", "pipeline.yaml")
    assert (code, err) == (0, "")
    assert "meter_sink ◀──" in out
    assert out.endswith("[!1] pipeline.yaml:1:1: no source has an interval: nothing is polled\n")


def test_graph_is_as_wide_as_the_environment_says(run, monkeypatch):
    text = PIPELINE.replace("meter_source", "a-source-of-a-name-of-" + "m" * 40)
    Path("wide.yaml").write_text(text)
    assert "◀──" in run("config", "graph", "wide.yaml")[1]
    monkeypatch.setenv("COLUMNS", "30")
    code, out, _ = run("config", "graph", "wide.yaml")
    assert code == 0
    assert "◀" not in out
    assert "→ meter_sink" in out
    assert max(map(len, out.partition("\n[!")[0].splitlines())) <= 30
    for odd in ("", "0", "wide", "²"):
        monkeypatch.setenv("COLUMNS", odd)
        assert "◀──" in run("config", "graph", "wide.yaml")[1]


def test_graph_where_the_terminal_has_no_boxes(run):
    Path("wide.yaml").write_text(PIPELINE.replace("meter_source", "名前"), "utf-8")
    code, out, _ = run("config", "graph", "wide.yaml", charset="ascii")
    assert code == 0
    assert out.isascii()
    assert "meter_sink <--" in out
    assert "??" in out


def test_graph_of_both_files_in_force(run):
    code, out, _ = run("--config-file", "agent.conf", "config", "graph", "--output", "mermaid")
    assert code == 0
    assert out.splitlines() == [
        "flowchart LR",
        '  source1(["some_pollsters<br/>every 300 s<br/>2 meters"])',
        '  sink1{{"meter_sink"}}',
        '  publisher1[("console://")]',
        "  source1 --> sink1",
        "  sink1 --> publisher1",
    ]


def test_graph_for_a_role(run):
    code, out, _ = run("config", "graph", "--role", "polling", "polling.yaml")
    assert (code, out) == (0, "sources\n  some_pollsters  every 300 s  2 meters\n")


@pytest.mark.parametrize("file", ["polling.yaml", "none.yaml"])
def test_a_file_with_a_fault_is_not_drawn(run, file):
    code, out, err = run("config", "graph", file)
    assert (code, out) == (1, "")
    assert err.startswith(f"{file}:")


# -- schema --------------------------------------------------------------------------------------


def test_schema(run):
    code, out, err = run("config", "schema")
    assert (code, err) == (None, "")
    made = json.load(io.StringIO(out))
    jsonschema.Draft202012Validator.check_schema(made)
    assert "cpu" in out
    names = made["$defs"]["transformer"]["properties"]["name"]["oneOf"]
    assert "rate_of_change" in {each["const"] for each in names}
    assert made["required"] == ["sources", "sinks"]
    made = json.loads(run("config", "schema", "--role", "polling")[1])
    assert made["required"] == ["sources"]
