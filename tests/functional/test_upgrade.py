# SPDX-License-Identifier: Apache-2.0
"""`ceilo-agent upgrade` on a real Gnocchi, alone and after Ceilometer's own upgrade."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from ceilo_agent.publishers.gnocchi.definitions import Definitions
from ceilo_agent.publishers.gnocchi.schemas import CEILOMETER, OURS
from tests.functional.agent import COMMAND
from tests.services import gnocchi, venvs
from tests.services.process import run

VERSION = "27.0.0"
POLICIES = {f"ceilometer-{name}" for name in ("low", "low-rate", "high", "high-rate")}
CONF = """
[gnocchi]
auth_section = gnocchi
auth_type = gnocchi-basic
user = admin
endpoint = {url}
"""

Types = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[gnocchi.Gnocchi]:
    with gnocchi.running(tmp_path_factory.mktemp("gnocchi")) as made:
        yield made


@pytest.fixture
def server(started: gnocchi.Gnocchi) -> gnocchi.Gnocchi:
    """A Gnocchi as it was installed."""
    for kind in ("instance", "volume"):
        if kind in types(started):
            for each in started.ask("GET", f"/resource/{kind}"):
                started.ask("DELETE", f"/resource/{kind}/{each['id']}")
    for name in types(started):
        if name != "generic":
            started.ask("DELETE", f"/resource_type/{name}")
    for policy in started.ask("GET", "/archive_policy"):
        if policy["name"].startswith(("ceilometer-", "mine")):
            started.ask("DELETE", f"/archive_policy/{policy['name']}")
    return started


@pytest.fixture(scope="module")
def ceilometer() -> Path:
    """The programs of Ceilometer."""
    return venvs.ensure("ceilometer", f"ceilometer=={VERSION}")


@pytest.fixture(scope="module")
def theirs(ceilometer: Path) -> Path:
    """The definition file that comes with Ceilometer."""
    (found,) = ceilometer.parent.glob("lib/*/site-packages/ceilometer/**/gnocchi_resources.yaml")
    return found


def types(server: gnocchi.Gnocchi) -> Types:
    return {each["name"]: each["attributes"] for each in server.ask("GET", "/resource_type")}


def policies(server: gnocchi.Gnocchi) -> dict[str, Any]:
    return {each["name"]: each for each in server.ask("GET", "/archive_policy")}


def url_of(server: gnocchi.Gnocchi, file: Path | None = None) -> str:
    query = "" if file is None else f"?resources_definition_file={file}"
    return f"gnocchi://127.0.0.1:{server.port}{query}"


def upgrade(*words: str) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, "upgrade", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def upgrade_of_ceilometer(server: gnocchi.Gnocchi, ceilometer: Path, directory: Path) -> None:
    conf = directory / "ceilometer.conf"
    conf.write_text(CONF.format(url=server.url))
    run([str(ceilometer / "ceilometer-upgrade"), "--config-file", str(conf), "--retry", "1"])


# -- alone ---------------------------------------------------------------------------------------


def test_apply_on_an_empty_gnocchi(server: gnocchi.Gnocchi) -> None:
    url = url_of(server)
    before = upgrade("check", "--url", url)
    assert before.returncode == 2, before.stderr
    planned = upgrade("apply", "--dry-run", "--url", url)
    assert planned.returncode == 0, planned.stderr
    assert set(types(server)) == {"generic"}

    done = upgrade("apply", "--url", url)
    assert (done.returncode, done.stderr) == (0, "")
    assert planned.stdout.replace(": would create ", ": created ") == done.stdout
    wanted = Definitions.load(None)
    assert types(server) == {
        "generic": {},
        **{name: kind.schema for name, kind in wanted.resource_types.items()},
    }
    assert policies(server).keys() >= POLICIES

    again = upgrade("apply", "--url", url)
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout == f"gnocchi-127.0.0.1:{server.port}: nothing to do\n"
    after = upgrade("check", "--url", url, "--json")
    assert after.returncode == 0, after.stdout
    assert [each["result"] for each in json.loads(after.stdout)["checks"]] == [0, 0, 0]


def test_two_agents_at_once(server: gnocchi.Gnocchi) -> None:
    """Each creation is done by one of them, and neither sees a fault."""
    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(lambda _: upgrade("apply", "--url", url_of(server)), range(3)))
    assert [(each.returncode, each.stderr) for each in done] == [(0, "")] * 3
    lines = [line for each in done for line in each.stdout.splitlines() if "nothing" not in line]
    assert len(lines) == len(set(lines))
    assert {line.rpartition("created ")[2] for line in lines} == {
        *(f"archive policy '{name}'" for name in POLICIES),
        *(f"resource type '{name}'" for name in Definitions.load(None).resource_types),
    }


def test_two_agents_change_a_type_at_once(server: gnocchi.Gnocchi, tmp_path: Path) -> None:
    upgrade("apply", "--url", url_of(server))
    files = []
    for number in range(3):
        files.append(tmp_path / f"{number}.yaml")
        names = ", ".join(f"own_{each}: string" for each in range(number, number + 3))
        files[-1].write_text(
            f"resources: [{{resource_type: instance, metrics: [cpu], schema: {{{names}}}}}]"
        )
    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(lambda file: upgrade("apply", "--url", url_of(server, file)), files))
    assert [(each.returncode, each.stderr) for each in done] == [(0, "")] * 3
    there = types(server)["instance"]
    assert {name for name in there if name.startswith("own_")} == {f"own_{n}" for n in range(5)}


def test_a_policy_of_another_kind_stays(server: gnocchi.Gnocchi) -> None:
    server.create_policy("ceilometer-low", granularity=60)
    there = policies(server)["ceilometer-low"]
    done = upgrade("apply", "--url", url_of(server))
    assert done.returncode == 0
    assert done.stderr == (
        f"gnocchi-127.0.0.1:{server.port}: warning: archive policy 'ceilometer-low' keeps 60 s for "
        "6.94444 days and not 300 s for 30 days; aggregates by count besides: it stays as it is\n"
    )
    assert policies(server)["ceilometer-low"] == there
    assert upgrade("check", "--url", url_of(server)).returncode == 1


def test_every_way_to_write_a_policy_is_taken_as_it_is_meant(
    server: gnocchi.Gnocchi, tmp_path: Path
) -> None:
    """What Gnocchi makes of it is the same again: the second run finds no difference."""
    file = tmp_path / "policies.yaml"
    rows = [
        "{granularity: 5 minutes, timespan: 30 days}",
        "{granularity: 300, points: 10}",
        "{timespan: 1 day, points: 1440}",
        '{granularity: "0:01:00", timespan: 3659}',
        "{granularity: 0.5, timespan: 1h30m}",
        "{granularity: 1 day}",
        '{granularity: "1 day, 0:05:00", timespan: 2 weeks}',
    ]
    file.write_text(
        "archive_policy_default: mine-0\narchive_policies:\n"
        + "".join(f"  - {{name: mine-{n}, definition: [{row}]}}\n" for n, row in enumerate(rows))
    )
    first = upgrade("apply", "--url", url_of(server, file))
    assert (first.returncode, first.stderr) == (0, "")
    assert len(first.stdout.splitlines()) == len(rows)
    second = upgrade("apply", "--url", url_of(server, file))
    assert (second.returncode, second.stderr) == (0, "")
    assert second.stdout.endswith(": nothing to do\n")


def test_attributes_of_every_type_are_added_to_a_type_that_has_resources(
    server: gnocchi.Gnocchi, tmp_path: Path
) -> None:
    """Of an older Ceilometer: no flavor's name, and a host that is required."""
    text = {"type": "string", "min_length": 0, "max_length": 255, "required": True}
    old = dict.fromkeys(("display_name", "flavor_id", "host"), text)
    server.ask("POST", "/resource_type", {"name": "instance", "attributes": old})
    name = str(uuid.uuid4())
    said = {"id": name, "display_name": "web", "flavor_id": "7", "host": "node-1"}
    server.ask("POST", "/resource/instance", said)
    file = tmp_path / "more.yaml"
    file.write_text(
        """\
archive_policy_default: low
resources:
  - resource_type: instance
    metrics: [cpu]
    schema:
      rack: string
      slots: {type: number, min: 1, max: 9}
      since: datetime
      parent: uuid
      spare: bool
      label: {type: string, required: true, max_length: 20}
"""
    )
    done = upgrade("apply", "--url", url_of(server, file))
    assert (done.returncode, done.stderr) == (0, "")
    assert "made 'host' of resource type 'instance' optional" in done.stdout
    schema = Definitions.load(file).resource_types["instance"].schema
    assert types(server)["instance"] == schema
    there = server.ask("GET", f"/resource/instance/{name}")
    assert {key: there[key] for key in said} == said
    assert (there["flavor_name"], there["label"], there["rack"]) == ("", "", None)
    without = dict.fromkeys(("display_name", "flavor_id", "flavor_name", "label"), "")
    server.ask("POST", "/resource/instance", {"id": str(uuid.uuid4()), **without})
    again = upgrade("apply", "--url", url_of(server, file))
    assert again.stdout.endswith(": nothing to do\n")


def test_a_gnocchi_that_is_away(server: gnocchi.Gnocchi) -> None:
    server.stop()
    try:
        for verb, code in (("apply", 1), ("check", 2)):
            done = upgrade(verb, "--url", url_of(server))
            assert done.returncode == code
            assert "Traceback" not in done.stdout + done.stderr
        assert upgrade("apply", "--url", url_of(server)).stderr.count("\n") == 1
    finally:
        server.start()


# -- with Ceilometer -----------------------------------------------------------------------------


def test_after_ceilometers_upgrade_nothing_is_lost_and_ours_is_added(
    server: gnocchi.Gnocchi, ceilometer: Path, tmp_path: Path
) -> None:
    upgrade_of_ceilometer(server, ceilometer, tmp_path)
    before = types(server)
    assert {name: rules for name, rules in before.items() if name != "generic"} == CEILOMETER
    volume = {"id": str(uuid.uuid4()), "display_name": "disk", "volume_type": "fast"}
    server.ask("POST", "/resource/volume", volume)

    done = upgrade("apply", "--url", url_of(server))
    assert (done.returncode, done.stderr) == (0, "")
    after = types(server)
    for name, rules in before.items():
        assert rules.items() <= after[name].items(), name
    added = {
        name: {each: rule for each, rule in rules.items() if each not in before.get(name, {})}
        for name, rules in after.items()
        if rules != before.get(name)
    }
    assert added == OURS
    there = server.ask("GET", f"/resource/volume/{volume['id']}")
    assert {key: there[key] for key in volume} == volume

    # And the other way about: it finds its own.
    upgrade_of_ceilometer(server, ceilometer, tmp_path)
    assert types(server) == after
    assert upgrade("check", "--url", url_of(server)).returncode == 0


def test_alone_gnocchi_has_what_it_has_after_ceilometer(
    server: gnocchi.Gnocchi, ceilometer: Path, tmp_path: Path
) -> None:
    upgrade("apply", "--url", url_of(server))
    before = types(server)
    upgrade_of_ceilometer(server, ceilometer, tmp_path)
    assert types(server) == before


def test_ceilometers_file_loads_unchanged(server: gnocchi.Gnocchi, theirs: Path) -> None:
    found = Definitions.load(theirs)
    assert found.warnings == ()
    done = upgrade("apply", "--url", url_of(server, theirs))
    assert (done.returncode, done.stderr) == (0, "")
    assert set(types(server)) == {"generic", *found.resource_types}
    assert policies(server).keys() >= POLICIES
    ours = upgrade("apply", "--url", url_of(server))
    assert (ours.returncode, ours.stderr) == (0, ""), "the policies are the same"


def test_our_file_has_all_that_ceilometers_has(theirs: Path) -> None:
    ours, other = Definitions.load(None), Definitions.load(theirs)
    document = yaml.safe_load(theirs.read_text("utf-8"))
    assert ours.default_policy == other.default_policy
    for resource in document["resources"]:
        kind = resource["resource_type"]
        for metric in resource["metrics"]:
            mapped = ours.resource_type_of(metric)
            assert mapped is not None, metric
            assert (mapped.name, ours.archive_policy_of(metric)) == (
                kind,
                other.archive_policy_of(metric),
            ), metric
        written = yaml.safe_load((Path(ours.path)).read_text("utf-8"))["resources"]
        (same,) = [each for each in written if each["resource_type"] == kind]
        assert resource.get("attributes", {}).items() <= same.get("attributes", {}).items()


def test_ceilometer_reads_our_file_as_its_own(ceilometer: Path, tmp_path: Path) -> None:
    """Who goes back, or has both, may use one file."""
    program = """
import json, sys
from ceilometer import service
from ceilometer.publisher.gnocchi import GnocchiPublisher
conf = service.prepare_service([], [])
types, policies = GnocchiPublisher._load_definitions(conf, None, sys.argv[1])
print(json.dumps([{t.cfg["resource_type"]: len(t.metrics) for t in types}, len(policies)]))
"""
    found = Definitions.load(None)
    done = subprocess.run(
        [str(ceilometer / "python"), "-W", "ignore", "-c", program, str(found.path)],
        capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Failed to load" not in done.stderr
    read, count = json.loads(done.stdout.splitlines()[-1])
    assert set(read) == set(found.resource_types)
    assert count == len(found.archive_policies)
