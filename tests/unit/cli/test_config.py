# SPDX-License-Identifier: Apache-2.0
"""`ceilo-agent config check` and `config show`, through the command itself."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from oslo_config import cfg

from ceilo_agent import options
from ceilo_agent.cli.main import main
from ceilo_agent.definition import places

ROOT = Path(__file__).parents[3]
SHIPPED = ROOT / "etc" / "pipeline.yaml"
FINE = """\
sources:
  - {name: guests, interval: 60, meters: [cpu, "disk.device.read.*"], sinks: [store, screen]}
  - {name: bus, meters: ["hardware.*"], sinks: [store]}
sinks:
  - {name: store, publishers: [local://]}
  - {name: screen, publishers: ["console://?format=json"]}
"""
WRONG = FINE.replace("interval: 60", "interval: 60s").replace("[store]}", "[stor]}")


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("OS_")]:
        monkeypatch.delenv(name)
    (tmp_path / "fine.yaml").write_text(FINE)
    (tmp_path / "wrong.yaml").write_text(WRONG)

    def run(*words):
        result = CliRunner().invoke(main, list(words), standalone_mode=False)
        assert result.exception is None, result.exception
        return result.return_value, result.stdout, result.stderr

    return run


# -- check ---------------------------------------------------------------------------------------


def test_fine(run):
    code, out, err = run("config", "check", "fine.yaml")
    assert (code, err) == (0, "")
    assert out.startswith("fine.yaml: 2 sources, 2 sinks, ")
    assert out.endswith(" meters, no faults\n")


@pytest.mark.parametrize(
    ("namespaces", "url", "told"),
    [
        ("central", "redsi://:geheim@ctl", "there is no driver for 'redsi'"),
        ("host,central", "redis://ctl?timeout=never", "timeout=never is not from 2 to 3600 s"),
        ("central", "redis://:geheim@ctl", ""),
        ("compute,host", "redsi://ctl", ""),
    ],
)
def test_a_back_end_that_agents_could_never_share_through_is_a_fault(run, namespaces, url, told):
    options = f"[polling]\nnamespaces = {namespaces}\n[coordination]\nbackend_url = {url}\n"
    Path("agent.conf").write_text(options)
    code, _, err = run("--config-file", "agent.conf", "config", "check", "fine.yaml")
    assert (code, bool(err)) == (1 if told else 0, bool(told))
    assert told in err
    assert "geheim" not in err


GNOCCHI = FINE.replace("local://", "gnocchi://")
UNMET = (
    "gnocchi.yaml:5:32: {}the publisher 'gnocchi': the URL names no host, and only Keystone could "
    "say where Gnocchi is (write gnocchi://host:8041, or auth_url and the rest in "
    "[service_credentials]{})\n"
)


def test_what_a_publisher_misses_in_the_options_is_a_fault(run):
    Path("gnocchi.yaml").write_text(GNOCCHI)
    Path("agent.conf").write_text("[DEFAULT]\nhost = here\n")
    words = ("--config-file", "agent.conf", "config", "check", "gnocchi.yaml")
    assert run(*words) == (1, "", UNMET.format("", ""))
    code, out, _ = run(*words, "--output", "json")
    (told,) = json.loads(out)
    assert (code, told["severity"], told["line"]) == (1, "error", 5)
    credentials = "auth_url = http://h:5000/v3\nauth_type = magic\n"
    Path("agent.conf").write_text(f"[service_credentials]\n{credentials}")
    code, _, err = run(*words)
    assert code == 1
    where = "gnocchi.yaml:5:32: the publisher 'gnocchi': [service_credentials] auth_type: "
    assert err.startswith(f"{where}keystoneauth has no 'magic'")
    credentials = "auth_url = http://h:5000/v3\npassword = file:/nowhere\n"
    Path("agent.conf").write_text(f"[service_credentials]\n{credentials}")
    assert run(*words)[0] == 0


@pytest.mark.skipif(
    Path("/etc/ceilo_agent/ceilo_agent.conf").exists(), reason="this machine has options"
)
def test_without_a_file_of_options_what_a_publisher_misses_is_a_warning(run):
    Path("gnocchi.yaml").write_text(GNOCCHI)
    code, out, err = run("config", "check", "gnocchi.yaml")
    hint = "; no file of the agent's options was read: --config-file names one"
    assert (code, err) == (0, UNMET.format("warning: ", hint))
    assert out.endswith(", no faults, 1 warning\n")


def test_who_only_polls_needs_no_credentials(run):
    Path("gnocchi.yaml").write_text(GNOCCHI)
    Path("agent.conf").write_text("[DEFAULT]\nhost = here\n")
    words = ("--config-file", "agent.conf", "config", "check", "gnocchi.yaml")
    assert run(*words, "--role", "polling")[0] == 0


def test_counts_in_the_singular(run):
    Path("one.yaml").write_text(
        "sources: [{name: a, meters: [cpu], sinks: [s]}]\nsinks: [{name: s, publishers: [local]}]\n"
    )
    assert run("config", "check", "one.yaml")[1] == (
        "one.yaml: 1 source, 1 sink, 1 meter, no faults, 1 warning\n"
    )


def test_all_faults_at_once(run):
    code, out, err = run("config", "check", "wrong.yaml")
    assert (code, out) == (1, "")
    assert err.splitlines() == [
        (
            "wrong.yaml:2:30: interval: a whole number of seconds from 1 to 86400 was expected, "
            "found the text '60s' (write 60)"
        ),
        "wrong.yaml:3:49: dangling sink 'stor' from source 'bus' (did you mean 'store'?)",
    ]


def test_unknown_meter_is_a_fault(run):
    Path("fine.yaml").write_text(FINE.replace("cpu", "cpy"))
    code, out, err = run("config", "check", "fine.yaml")
    assert (code, out) == (1, "")
    assert err == "fine.yaml:2:43: no meter is named 'cpy' (did you mean 'cpu'?)\n"


def test_json(run):
    code, out, err = run("config", "check", "wrong.yaml", "--output", "json")
    assert (code, err) == (1, "")
    assert json.loads(out)[1] == {
        "file": "wrong.yaml",
        "line": 3,
        "column": 49,
        "what": "dangling sink 'stor' from source 'bus'",
        "hint": "did you mean 'store'?",
        "severity": "error",
    }


def test_json_of_a_fine_file(run):
    assert run("config", "check", "--output", "json", "fine.yaml") == (0, "[]\n", "")


def test_warning_is_no_fault(run):
    Path("fine.yaml").write_text(FINE + "publishers: {spare: console}\n")
    code, out, err = run("config", "check", "fine.yaml")
    assert code == 0
    assert err == "fine.yaml:7:14: warning: no sink uses the publisher 'spare'\n"
    assert out.endswith("no faults, 1 warning\n")
    (warning,) = json.loads(run("config", "check", "fine.yaml", "--output", "json")[1])
    assert warning["severity"] == "warning"


def test_missing_file(run):
    assert run("config", "check", "none.yaml") == (1, "", "none.yaml: no such file\n")


def test_the_file_in_force(run, tmp_path):
    Path("agent.conf").write_text(f"[DEFAULT]\npipeline_cfg_file = {tmp_path}/wrong.yaml\n")
    code, _, err = run("--config-file", "agent.conf", "config", "check")
    assert code == 1
    assert err.startswith(f"{tmp_path}/wrong.yaml:2:30: ")


def test_no_file_anywhere(run, monkeypatch, tmp_path):
    monkeypatch.setattr(options, "PIPELINE_PLACES", (tmp_path / "a",))
    monkeypatch.setattr(places, "INSTALLED", tmp_path / "b")
    code, out, err = run("config", "check")
    assert (code, out) == (1, "")
    assert f"no pipeline file at {tmp_path}/a, {tmp_path}/b" in err


def test_shipped_file_is_fine(run):
    code, out, err = run("config", "check", str(SHIPPED))
    assert (code, err) == (0, "")
    assert ": 2 sources, 2 sinks, " in out


def test_exit_codes_of_the_process(tmp_path):
    (tmp_path / "wrong.yaml").write_text(WRONG)
    for words, code in [
        (["check", str(SHIPPED)], 0),
        (["check", str(tmp_path / "wrong.yaml")], 1),
        (["check", "--no-such-option"], 2),
    ]:
        command = [sys.executable, "-c", "from ceilo_agent.cli.main import run; run()"]
        done = subprocess.run(
            [*command, "config", *words], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr


SHARED = """\
sources: [{name: a, interval: 60, meters: [vcpus], sinks: [s]}]
sinks:
  - name: s
    transformers: [{name: aggregator, parameters: {group_by: [project_id], retention_time: 60}}]
    publishers: ["prometheus://"]
"""
PAGE = "shared.yaml:5:18: the publisher 'prometheus': a page is served by one process: "
SUMS = "shared.yaml:4:20: a grouping of 'aggregator' spans hosts, "


def test_what_workers_cannot_share_is_a_fault_of_the_role_notification(run):
    Path("shared.yaml").write_text(SHARED)
    Path("agent.conf").write_text("[notification]\nworkers = 2\n")
    words = ("--config-file", "agent.conf", "config", "check", "shared.yaml")
    assert run(*words)[0] == run(*words, "--role", "polling")[0] == 0
    code, _, err = run(*words, "--role", "notification")
    assert code == 1
    first, second = err.splitlines()
    assert first.startswith(SUMS)
    assert second.startswith(PAGE)
    Path("agent.conf").write_text("[notification]\nqueues = 1\n")
    assert run(*words, "--role", "notification")[0] == 0


@pytest.mark.skipif(
    Path("/etc/ceilo_agent/ceilo_agent.conf").exists(), reason="this machine has options"
)
def test_without_a_file_of_options_what_workers_cannot_share_is_a_warning(run):
    Path("shared.yaml").write_text(SHARED)
    code, _, err = run("config", "check", "shared.yaml", "--role", "notification")
    assert code == 0
    assert err.startswith(SUMS.replace(": a grouping", ": warning: a grouping"))
    assert err.endswith("; no file of the agent's options was read: --config-file names one)\n")


# -- show ----------------------------------------------------------------------------------------


def rows(out):
    """Return the words of each line by its first two."""
    lines = [line.split() for line in out.splitlines() if line]
    return {tuple(words[:2]): words[2:] for words in lines}


def test_show(run, monkeypatch, tmp_path):
    Path("agent.conf").write_text(
        f"[DEFAULT]\nhost = node1\npipeline_cfg_file = {tmp_path}/fine.yaml\n"
        "[polling]\nnamespaces = compute, host\n"
    )
    monkeypatch.setenv("OS_LIBVIRT__CALL_TIMEOUT", "3.5")
    code, out, err = run("--config-file", "agent.conf", "config", "show")
    assert (code, err) == (0, "")
    found = rows(out)
    assert found["[DEFAULT]", "host"] == ["node1", f"file:{tmp_path}/agent.conf"]
    assert found["[polling]", "namespaces"] == ["compute,host", f"file:{tmp_path}/agent.conf"]
    assert found["[libvirt]", "call_timeout"] == ["3.5", "environment:OS_LIBVIRT__CALL_TIMEOUT"]
    assert found["[libvirt]", "uri"] == ["default"]
    assert found["[store]", "path"][1:] == ["default"]
    assert found["[store]", "path"][0].endswith("store.db")
    for group, declared in options.GROUPS.items():
        for option in declared:
            assert (f"[{group}]", option.name) in found
    assert f"pipeline file: {tmp_path}/fine.yaml\n" in out
    assert found["guests", "60"][0] == "s"
    assert found["guests", "60"][2:] == ["store,", "screen"]
    assert found["bus", "not"][0] == "polled"
    assert "screen" in out
    assert found["store", "local"] == []


def test_show_a_given_file(run):
    code, out, err = run("config", "show", "fine.yaml")
    assert (code, err) == (0, "")
    assert rows(out)["[DEFAULT]", "pipeline_cfg_file"] == ["fine.yaml", "command", "line"]


def test_show_with_a_broken_file_shows_the_options_all_the_same(run):
    code, out, err = run("config", "show", "wrong.yaml")
    assert code == 1
    assert "[polling] namespaces" in out
    assert len(err.splitlines()) == 2


def test_secrets_are_masked(run, monkeypatch, tmp_path):
    secret = cfg.StrOpt("password", secret=True, help="x")
    monkeypatch.setitem(options.GROUPS, "vault", [secret])
    Path("agent.conf").write_text("[vault]\npassword = hunter2\n")
    _, out, _ = run("--config-file", "agent.conf", "config", "show", "fine.yaml")
    assert rows(out)["[vault]", "password"] == ["***", f"file:{tmp_path}/agent.conf"]
    assert "hunter2" not in out
