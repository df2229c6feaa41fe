# SPDX-License-Identifier: Apache-2.0
"""``ceilo-agent query``."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ceilo_agent.sample import Meter, Resource, Sample, SampleType
from ceilo_agent.store.writer import Writer

CPU = Meter("cpu", "ns", SampleType.CUMULATIVE)
MEMORY = Meter("memory.usage", "MB", SampleType.GAUGE)
READ = Meter("disk.device.read.bytes", "B", SampleType.CUMULATIVE)
NOW = float(int(time.time()))
COMMAND = [sys.executable, "-c", "from ceilo_agent.cli.main import run; run()", "query"]
ENV = {**os.environ, "PYTHONPATH": ":".join(sys.path), "COLUMNS": "60"}


@pytest.fixture(scope="module", autouse=True)
def now() -> None:
    """Begin when these tests do: what is collected long before would be too old for `--last`."""
    global NOW  # noqa: PLW0603
    NOW = float(int(time.time()))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("query") / "store.db"
    writer = Writer(path, 1e9, 1 << 30)
    writer.open()
    web = Resource("0f3b-web", "p", "u", "instance", {"display_name": "web\x1b[31m"})
    sql = Resource("77aa-sql", None, None, "instance", {})
    # The counter rises by 60,000 a minute and begins anew once.
    for number, cpu in enumerate([2**63, 2**63 + 60_000, 2**63 + 120_000, 5, 60_005]):
        moment = NOW - 300 + 60 * number
        writer.append(
            [
                Sample(CPU, web, moment, cpu),
                Sample(MEMORY, web, moment, 100.5 + number),
                Sample(MEMORY, sql, moment, 7),
            ]
        )
    writer.append([Sample(READ, web, NOW - 86400, 100)])
    writer.close()
    return path


def run(store: Path, *arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*COMMAND, "--store", str(store), *arguments],
        env=ENV, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done


def on_terminal(store: Path, *arguments: str) -> str:
    """Return what a person at a terminal of 60 columns sees."""
    leader, follower = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, "--store", str(store), *arguments], env=ENV, stdout=follower, stdin=follower
    ) as process:
        os.close(follower)
        found = b""
        try:
            while data := os.read(leader, 65536):
                found += data
        except OSError:  # Linux's way to say that the other side is closed
            pass
        os.close(leader)
    assert process.returncode == 0
    return found.decode().replace("\r\n", "\n")


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def iso(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000000+00:00", time.gmtime(moment))


def test_without_a_meter_it_lists_them(store: Path) -> None:
    assert rows(run(store).stdout) == [
        ["meter", "unit", "type", "resources", "last"],
        ["cpu", "ns", "cumulative", "1", iso(NOW - 60)],
        ["disk.device.read.bytes", "B", "cumulative", "1", iso(NOW - 86400)],
        ["memory.usage", "MB", "gauge", "2", iso(NOW - 60)],
    ]
    assert json.loads(run(store, "--output", "json").stdout)[2] == {
        "name": "memory.usage",
        "unit": "MB",
        "type": "gauge",
        "resources": 2,
        "last": iso(NOW - 60),
    }
    assert len(rows(run(store, "--resource", "77aa-sql").stdout)) == 2


def test_a_counter_comes_with_its_rate_unless_it_fell(store: Path) -> None:
    assert rows(run(store, "cpu").stdout) == [
        ["time", "resource", "meter", "volume", "unit", "rate/s"],
        [iso(NOW - 300), "0f3b-web", "cpu", "9223372036854775808", "ns", "-"],
        [iso(NOW - 240), "0f3b-web", "cpu", "9223372036854835808", "ns", "1000"],
        [iso(NOW - 180), "0f3b-web", "cpu", "9223372036854895808", "ns", "1000"],
        [iso(NOW - 120), "0f3b-web", "cpu", "5", "ns", "-"],
        [iso(NOW - 60), "0f3b-web", "cpu", "60005", "ns", "1000"],
    ]


def test_a_gauge_has_no_rate_and_columns_are_aligned(store: Path) -> None:
    lines = run(store, "memory.usage").stdout.splitlines()
    assert len(lines) == 11
    assert all(line.split()[-1] in ("-", "rate/s") for line in lines)
    assert len({line.index("memory.usage") for line in lines[1:]}) == 1
    assert [line.split()[3] for line in lines[1:] if "sql" in line] == ["7"] * 5


def test_a_series_has_no_rate_from_another(store: Path) -> None:
    (line,) = [row for row in rows(run(store, "*", "--last", "2d").stdout) if READ.name in row]
    assert line[3:] == ["100", "B", "-"]


def test_json_is_the_samples_document(store: Path) -> None:
    found = json.loads(run(store, "cpu", "--output", "json").stdout)
    assert len(found) == 5
    assert found[0] == {
        "name": "cpu",
        "type": "cumulative",
        "unit": "ns",
        "volume": 2**63,
        "resource_id": "0f3b-web",
        "project_id": "p",
        "user_id": "u",
        "timestamp": iso(NOW - 300),
        "resource_metadata": {"display_name": "web\x1b[31m"},
    }


def test_patterns_resources_and_time_choose(store: Path) -> None:
    def found(*arguments: str) -> set[tuple[str, str]]:
        documents = json.loads(run(store, *arguments, "--output", "json").stdout)
        return {(one["name"], one["resource_id"]) for one in documents}

    assert found("memory.*") == {("memory.usage", "0f3b-web"), ("memory.usage", "77aa-sql")}
    assert found("*", "--resource", "77aa-sql") == {("memory.usage", "77aa-sql")}
    assert ("disk.device.read.bytes", "0f3b-web") not in found("*")
    assert ("disk.device.read.bytes", "0f3b-web") in found("*", "--last", "2d")
    assert len(json.loads(run(store, "cpu", "--last", "3m", "--output", "json").stdout)) <= 3


def test_a_plot_shows_every_series_with_its_range(store: Path) -> None:
    text = run(store, "*", "--output", "plot").stdout
    blocks = text.rstrip("\n").split("\n\n")
    assert [block.splitlines()[0] for block in blocks] == [
        "cpu [ns]  0f3b-web  web\ufffd[31m, rate per second",
        "memory.usage [MB]  0f3b-web  web\ufffd[31m",
        "memory.usage [MB]  77aa-sql",
    ]
    for block, height in zip(blocks, (4, 4, 2), strict=True):
        assert len(block.splitlines()) == 1 + height + 1
        assert all(len(line) < 60 for line in block.splitlines()[1:-1])
        assert "█" in block
    assert "min 1,000  max 1,000  last 1,000" in blocks[0]
    assert "min 100.5  max 104.5  last 104.5" in blocks[1]
    one = run(store, "disk.device.read.bytes", "--last", "2d", "--output", "plot").stdout
    assert "one reading gives no rate" in one


def test_a_terminal_gets_a_table_for_each_series(store: Path) -> None:
    text = on_terminal(store, "cpu")
    assert "cpu [ns]  0f3b-web  web\ufffd[31m" in text
    assert "\x1b[31m" not in text
    assert "\x1b[1m" in text
    assert "9223372036854835808" in text
    assert time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(NOW - 60)) in text
    assert "memory.usage" in on_terminal(store)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("cpuu",), "no meter 'cpuu' in {} (did you mean 'cpu'?)"),
        (("zzz",), "no meter 'zzz' in {} (`ceilo-agent query` lists the meters)"),
        (
            ("cpu", "--resource", "0f3b-we"),
            "no resource '0f3b-we' in {} (did you mean '0f3b-web'?)",
        ),
        (("cpu", "--resource", "77aa-sql"), "no meter 'cpu' of resource '77aa-sql' in {}"),
        (("disk.*",), "no samples in this time; the newest is of {1}"),
    ],
)
def test_nothing_found_is_one_line_and_code_1(
    store: Path, arguments: tuple[str, ...], words: str
) -> None:
    done = run(store, *arguments, status=1)
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert words.format(store, iso(NOW - 86400)) in done.stderr


def test_an_empty_window_is_an_empty_list_in_json(store: Path) -> None:
    assert run(store, "disk.*", "--output", "json", status=1).stdout == "[]\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("cpu", "--last", "1x"), "'1x' is no duration such as 30s, 5m, 2h or 7d"),
        (("cpu", "--last", "0s"), "is no duration"),
        (("cpu", "--last", "-5m"), "is no duration"),
        (("cpu", "--output", "xml"), "'xml' is not one of"),
        (("--output", "plot"), "a plot needs a METER"),
        (("cpu", "memory"), "unexpected extra argument"),
    ],
)
def test_wrong_use_is_told_with_code_2(store: Path, arguments: tuple[str, ...], words: str) -> None:
    assert words in run(store, *arguments, status=2).stderr


def test_a_store_that_is_not_there_is_told_with_code_2(tmp_path: Path) -> None:
    done = run(tmp_path / "store.db", "cpu", status=2)
    assert done.stderr == (
        f"ceilo-agent: there is no metric store at {tmp_path}/store.db: start `ceilo-agent up`, "
        f"which fills one, or name another (--store PATH, [store] path)\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_an_empty_store_is_told(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    writer = Writer(path, 1e9, 1 << 30)
    writer.open()
    assert run(path, status=1).stderr == f"the metric store {path} holds no samples yet\n"
    writer.close()


def test_the_store_of_the_configuration_is_the_default(store: Path, tmp_path: Path) -> None:
    file = tmp_path / "agent.conf"
    file.write_text(f"[store]\npath = {store}\n")
    code = "from ceilo_agent.cli.main import run; run()"
    done = subprocess.run(
        [sys.executable, "-c", code, "--config-file", str(file), "query", "cpu"],
        env=ENV, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert len(done.stdout.splitlines()) == 6


def test_a_reader_that_left_is_no_fault(store: Path) -> None:
    line = (
        f"{' '.join(map(repr, COMMAND[:1]))} -c '{COMMAND[2]}' query --store {store} '*' | head -1"
    )
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line], env=ENV, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1


def test_a_pipe_does_without_rich(store: Path) -> None:
    code = (
        "import sys; from ceilo_agent.cli.main import main\n"
        "main(sys.argv[1:], standalone_mode=False); assert 'rich' not in sys.modules"
    )
    subprocess.run(
        [sys.executable, "-c", code, "query", "cpu", "--store", str(store)],
        env=ENV, capture_output=True, check=True,
    )  # fmt: skip
