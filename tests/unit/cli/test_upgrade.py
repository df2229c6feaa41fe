# SPDX-License-Identifier: Apache-2.0
"""`ceilo-agent upgrade`, through the command, against a store on loopback."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from ceilo_agent.cli.main import main
from tests.services import faulty
from tests.unit.publishers.gnocchi import edge

SMALL = """\
archive_policies:
  - name: ceilometer-low
    aggregation_methods: [mean]
    definition: [{granularity: 5 minutes, timespan: 30 days}]
  - name: fine
    back_window: 0
    aggregation_methods: [mean]
    definition: [{granularity: 1, timespan: 1 day}]
resources:
  - resource_type: instance
    metrics: {cpu: {archive_policy_name: fine}}
    attributes: {host: resource_metadata.host}
    schema: {rack: string}
  - resource_type: volume
    metrics: [volume.size]
"""
PIPELINE = """\
sources:
  - {name: guests, meters: [cpu], sinks: [store]}
sinks:
  - name: store
    publishers: [archive, console, "gnocchi://admin:secret@127.0.0.1:PORT/other"]
publishers:
  archive: "gnocchi://127.0.0.1:PORT?resources_definition_file=DIRECTORY/small.yaml"
"""


class Said(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Said]


@pytest.fixture
def store() -> Iterator[edge.Edge]:
    with edge.serving() as made:
        yield made


@pytest.fixture
def run(tmp_path: Path, store: edge.Edge, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `upgrade` with the configuration of a directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(SMALL)
    pipeline = PIPELINE.replace("PORT", str(store.port)).replace("DIRECTORY", str(tmp_path))
    (tmp_path / "pipeline.yaml").write_text(pipeline)
    (tmp_path / "agent.conf").write_text("[DEFAULT]\npipeline_cfg_file = pipeline.yaml\n")

    def run(*words: str) -> Said:
        given = ["--config-file", "agent.conf", "upgrade", *words]
        result = CliRunner().invoke(main, given, standalone_mode=False)
        if result.exception is not None:
            raise result.exception
        return Said(result.return_value, result.stdout, result.stderr)

    return run


@pytest.fixture
def url(tmp_path: Path, store: edge.Edge) -> str:
    file = tmp_path / "small.yaml"
    return f"gnocchi://127.0.0.1:{store.port}?resources_definition_file={file}"


APPLIED = """\
archive: created archive policy 'fine'
archive: added 'rack' to resource type 'instance'
archive: created resource type 'volume'
"""


def test_apply_creates_what_lacks_and_then_has_nothing_to_do(run: Run, store: edge.Edge) -> None:
    before = dict(store.types["instance"])
    assert run("apply", "--publisher", "archive") == (0, APPLIED, "")
    assert store.types["instance"].keys() - before.keys() == {"rack"}
    assert before.items() <= store.types["instance"].items()
    assert store.policies["ceilometer-low"] == edge.POLICY
    assert store.policies["fine"]["definition"] == [{"granularity": 1, "timespan": "1 day"}]
    assert set(store.types["volume"]) == {
        "display_name", "volume_type", "volume_type_id", "image_id", "instance_id",
    }  # fmt: skip
    store.take()
    assert run("apply", "--publisher", "archive") == (0, "archive: nothing to do\n", "")
    assert {asked.split()[0] for asked in store.take()} == {"GET"}


def test_a_dry_run_changes_nothing(run: Run, store: edge.Edge) -> None:
    said = run("apply", "--publisher", "archive", "--dry-run")
    expected = APPLIED.replace(": created", ": would create").replace(": added", ": would add")
    assert said == (0, expected, "")
    assert {asked.split()[0] for asked in store.asked} == {"GET"}


def test_apply_takes_every_gnocchi_publisher_of_the_pipeline_file(
    run: Run, store: edge.Edge
) -> None:
    said = run("apply")
    lines = said.out.splitlines()
    names = list(dict.fromkeys(line.partition(": ")[0] for line in lines))
    # The second is at a path that this store does not have.
    assert names == ["archive"]
    assert said.code == 1
    assert said.err.startswith(f"gnocchi-127.0.0.1:{store.port}/other: http://127.0.0.1:")
    assert "secret" not in said.out + said.err


def test_a_url_needs_no_pipeline_file(run: Run, url: str) -> None:
    Path("pipeline.yaml").unlink()
    said = run("apply", "--url", url)
    assert said.code == 0
    assert "created archive policy 'fine'" in said.out


def test_another_policy_of_the_name_is_told_and_stays(run: Run, store: edge.Edge, url: str) -> None:
    there = {**edge.POLICY, "name": "fine", "back_window": 3}
    store.policies["fine"] = there
    said = run("apply", "--url", url)
    name = f"gnocchi-127.0.0.1:{store.port}"
    assert said.err == (
        f"{name}: warning: archive policy 'fine' keeps 300 s for 30 days and not 1 s for 86400 s; "
        "has a back_window of 3, not 0: it stays as it is\n"
    )
    assert (said.code, store.policies["fine"]) == (0, there)


def test_an_attribute_of_another_type_is_told_and_stays(
    run: Run, store: edge.Edge, url: str
) -> None:
    store.types["instance"]["rack"] = {"type": "number", "required": False, "min": 0, "max": None}
    said = run("apply", "--url", url)
    assert "resource type 'instance': the attribute 'rack' is a number, not a string" in said.err
    assert store.types["instance"]["rack"]["type"] == "number"
    assert said.code == 0


def test_what_ceilometer_once_required_becomes_optional(
    run: Run, store: edge.Edge, url: str
) -> None:
    """Its release 27 withholds the host from users and made it optional; those before did not."""
    rule = {**edge.TEXT, "required": True, "max_length": 64}
    store.types["instance"]["host"] = rule
    said = run("apply", "--url", url)
    assert "made 'host' of resource type 'instance' optional" in said.out
    assert store.types["instance"]["host"] == {**rule, "required": False}


def test_attributes_that_lack_are_filled_where_they_are_required(
    run: Run, store: edge.Edge, url: str
) -> None:
    del store.types["instance"]["flavor_name"]
    assert run("apply", "--url", url).code == 0
    assert store.types["instance"]["flavor_name"]["options"] == {"fill": ""}
    assert store.types["instance"]["flavor_name"]["required"] is True


def test_what_another_agent_creates_meanwhile_is_no_fault(
    run: Run, store: edge.Edge, url: str
) -> None:
    answer = store.server.usual

    def race(request: faulty.Request) -> tuple[int, dict[str, str], bytes]:
        """Somebody else creates the same right before each request."""
        if request.method == "POST":
            body = json.loads(request.body)
            if "archive_policy" in request.path:
                store.policies.setdefault(body["name"], {**edge.POLICY, **body})
            else:
                store.types.setdefault(body["name"], body["attributes"])
        return store._answer(request)

    store.server.usual = faulty.reply(race)
    said = run("apply", "--url", url)
    store.server.usual = answer
    name = f"gnocchi-127.0.0.1:{store.port}"
    assert said.out == f"{name}: added 'rack' to resource type 'instance'\n"
    assert said.code == 0


def test_a_conflict_on_the_way_is_tried_again(run: Run, store: edge.Edge, url: str) -> None:
    """Of two that change a type at the same time one gets an error."""
    looks = [store.server.usual] * 3
    store.server.script(*looks, faulty.status(500))
    said = run("apply", "--url", url)
    assert said.code == 0
    assert "added 'rack' to resource type 'instance'" in said.out
    assert "created resource type 'volume'" in said.out


def test_a_refusal_is_told_and_the_rest_is_done(run: Run, store: edge.Edge, url: str) -> None:
    refusal = json.dumps({"code": 400, "description": "Invalid input: not today"}).encode()

    def refuse(request: faulty.Request) -> tuple[int, dict[str, str], bytes]:
        if request.method == "PATCH":
            return 400, {"Content-Type": "application/json"}, refusal
        return store._answer(request)

    store.server.usual = faulty.reply(refuse)
    said = run("apply", "--url", url)
    assert said.code == 1
    (line,) = said.err.splitlines()
    assert ": cannot add 'rack' to resource type 'instance': " in line
    assert line.endswith("not today")
    assert "created resource type 'volume'" in said.out


def test_nobody_answers(run: Run, store: edge.Edge, url: str) -> None:
    store.server.stop()
    for words in (["apply"], ["apply", "--dry-run"]):
        said = run(*words, "--url", url)
        assert said.code == 1
        assert said.out == ""
        (line,) = said.err.splitlines()
        assert line.startswith(f"gnocchi-127.0.0.1:{store.port}: http://127.0.0.1:{store.port}: ")


def test_a_policy_that_nobody_defines_is_told(run: Run, url: str) -> None:
    Path("small.yaml").write_text(
        SMALL.replace("archive_policy_name: fine", "archive_policy_name: low")
    )
    said = run("apply", "--url", url)
    assert said.code == 1
    assert "archive policy 'low': metrics are to have it, no file defines it" in said.err


# -- check ---------------------------------------------------------------------------------------


def results(said: Said) -> dict[str, tuple[int, str | None]]:
    checks: list[dict[str, Any]] = json.loads(said.out)["checks"]
    return {each["check"].partition(": ")[2]: (each["result"], each["details"]) for each in checks}


def test_check_tells_what_lacks(run: Run) -> None:
    said = run("check", "--publisher", "archive", "--json")
    assert said.code == 2
    assert results(said) == {
        "Gnocchi answers": (0, None),
        "archive policies": (
            2,
            (
                "archive policies to create: 1 ('fine'): "
                "run 'ceilo-agent upgrade apply', with --dry-run for all of it"
            ),
        ),
        "resource types": (
            2,
            (
                "resource types to create: 1 ('volume'); "
                "resource types to add attributes to: 1 ('instance'): "
                "run 'ceilo-agent upgrade apply', with --dry-run for all of it"
            ),
        ),
    }


def test_check_counts_what_is_too_much_to_name(run: Run) -> None:
    more = "".join(f"  - {{resource_type: kind{n}, metrics: [m{n}]}}\n" for n in range(9))
    Path("small.yaml").write_text(SMALL + more)
    said = run("check", "--publisher", "archive", "--json")
    _, details = results(said)["resource types"]
    assert details is not None
    wanted = "resource types to create: 10 ('volume', 'kind0', 'kind1' and 7 more); "
    assert details.startswith(wanted)


def test_check_is_content_after_apply(run: Run) -> None:
    run("apply", "--publisher", "archive")
    said = run("check", "--publisher", "archive")
    assert said.code == 0
    assert said.out.count("Result: Success") == 3


def test_check_warns_of_what_stays_other(run: Run, store: edge.Edge) -> None:
    run("apply", "--publisher", "archive")
    store.policies["fine"]["back_window"] = 3
    said = run("check", "--publisher", "archive", "--json")
    assert said.code == 1
    code, details = results(said)["archive policies"]
    assert code == 1
    assert details == "archive policy 'fine' has a back_window of 3, not 0: it stays as it is"


def test_check_when_nobody_answers(run: Run, store: edge.Edge) -> None:
    store.server.stop()
    said = run("check", "--publisher", "archive", "--json")
    assert said.code == 2
    found = results(said)
    assert found["Gnocchi answers"][0] == 2
    assert found["resource types"] == (2, "not known")


def test_check_has_nothing_to_do_without_a_publisher(run: Run) -> None:
    text = Path("pipeline.yaml").read_text().partition("publishers:\n  archive")[0]
    Path("pipeline.yaml").write_text(text.replace(text[text.index("[archive") :], "[console]\n"))
    assert run("check") == (0, "no publisher of gnocchi://, nothing to check\n", "")
    said = run("check", "--json")
    assert (said.code, json.loads(said.out)["checks"]) == (0, [])
    assert run("apply") == (0, "no publisher of gnocchi://, nothing to do\n", "")


# -- mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"[]", b"{}", b'[{"a": 1}]', b"null", b"[1]", b"<html>"])
def test_what_is_no_gnocchi(run: Run, store: edge.Edge, url: str, body: bytes) -> None:
    store.server.usual = faulty.ok(body)
    said = run("apply", "--url", url)
    assert said.code == 1
    (line,) = said.err.splitlines()
    assert "no Gnocchi" in line or "no JSON" in line or "200 and not 201" in line


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--publisher", "archiv"), "is named 'archiv' (did you mean 'archive'?)"),
        (("--publisher", "console"), "no publisher of gnocchi:// is named 'console'"),
        (("--url", "http://127.0.0.1"), "a URL of gnocchi:// was expected"),
        (("--url", "gnocchi://h?timeot=1"), "--url: unknown option 'timeot'"),
        (("--url", "gnocchi://h:x"), "--url: 'gnocchi://h:x' is no URL"),
        (("--url", "gnocchi://h?resources_definition_file=/no"), "/no: no such file"),
        (("--url", "gnocchi://h", "--publisher", "archive"), "exclude each other"),
    ],
)
@pytest.mark.parametrize("verb", ["apply", "check"])
def test_wrong_use(run: Run, verb: str, words: tuple[str, ...], told: str) -> None:
    with pytest.raises(Exception) as raised:  # noqa: PT011 - of click and of ours
        run(verb, *words)
    assert type(raised.value).__name__ in {"BadParameter", "UsageError", "ConfigError"}
    assert told in str(raised.value)


def test_mistakes_in_the_definition_file_are_faults_of_config_check(
    tmp_path: Path, run: Run
) -> None:
    broken = SMALL.replace("attributes: {host", "attributes: {host-name")
    (tmp_path / "small.yaml").write_text(broken.replace("[volume.size]", "[cpu]"))
    result = CliRunner().invoke(main, ["config", "check", "pipeline.yaml"], standalone_mode=False)
    assert result.return_value == 1
    assert result.stderr.splitlines() == [
        (
            f"{tmp_path}/small.yaml:12:18: 'host-name' is no name for an attribute "
            "(at most 63 letters, digits and '_', the first no '_')"
        )
    ]


def test_warnings_of_the_definition_file_are_warnings_of_config_check(
    tmp_path: Path, run: Run
) -> None:
    (tmp_path / "small.yaml").write_text(SMALL.replace("[volume.size]", "[cpu]"))
    result = CliRunner().invoke(main, ["config", "check", "pipeline.yaml"], standalone_mode=False)
    assert result.return_value == 0
    assert (
        f"{tmp_path}/small.yaml:15:15: warning: the metric 'cpu' stands twice, this one counts"
        in result.stderr
    )
