# SPDX-License-Identifier: Apache-2.0
"""What several workers of the notification agent cannot share."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ceilo_agent import options
from ceilo_agent.definition.pipeline import PipelineFile, Role, load
from ceilo_agent.errors import ConfigError
from ceilo_agent.pipeline.sharing import Sharing, check_shared, unshared

Read = Callable[..., PipelineFile]

SUMS = "{name: aggregator, parameters: {group_by: [project_id], retention_time: 60}}"
MEANS = "{name: aggregator, parameters: {retention_time: 60}}"


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read(publishers: str = "console", step: str = "") -> PipelineFile:
        path = tmp_path / "pipeline.yaml"
        path.write_text(
            "sources: [{name: a, meters: [cpu], sinks: [s]}]\n"
            f"sinks:\n  - name: s\n    transformers: [{step}]\n    publishers: [{publishers}]\n"
        )
        return load(path, Role.NOTIFICATION)

    return read


def faults(file: PipelineFile, sharing: Sharing) -> list[str]:
    return [str(fault).removeprefix(f"{file.path}:") for fault in unshared(file, sharing).faults]


@pytest.mark.parametrize(
    ("publisher", "told"),
    [
        (
            "prometheus://:9102",
            (
                "5:18: the publisher 'prometheus': a page is served by one process: "
                "[notification] workers is 3 (workers = 1, or remote-write://)"
            ),
        ),
        (
            "local://",
            (
                "5:18: the publisher 'local': a store has one writer: [notification] workers is 3 "
                "(workers = 1, or a store of the cloud, such as gnocchi://)"
            ),
        ),
    ],
)
def test_what_one_process_has_alone_is_refused_to_several(
    read: Read, publisher: str, told: str
) -> None:
    file = read(f"'{publisher}'")
    assert faults(file, Sharing(workers=3, queues=8)) == [told]
    assert faults(file, Sharing(workers=1, queues=8)) == []


@pytest.mark.parametrize("publisher", ["console", "file:///tmp/x", "remote-write://h", "otlp://h"])
def test_what_several_processes_may_have(read: Read, publisher: str) -> None:
    assert faults(read(f"'{publisher}'"), Sharing(workers=3, queues=8)) == []


def test_a_grouping_that_spans_hosts_needs_one_queue(read: Read) -> None:
    file = read(step=SUMS)
    assert faults(file, Sharing(workers=1, queues=8)) == [
        (
            "4:20: a grouping of 'aggregator' spans hosts, whose samples are spread over 8 "
            "queues: each worker sees only a part (group by resource_id, or set [notification] "
            "queues = 1 in every agent)"
        )
    ]
    assert unshared(file, Sharing(workers=4, queues=1)) == ([], [])
    assert unshared(read(step=MEANS), Sharing(workers=4, queues=8)) == ([], [])


def test_beside_messages_of_ceilometer_such_a_grouping_needs_one_worker(read: Read) -> None:
    found = unshared(read(step=SUMS), Sharing(1, 1, ceilometer=True))
    assert found.faults == []
    (warning,) = found.warnings
    assert "ceilometer_topics is one more queue beside ours" in warning.what
    assert len(unshared(read(step=SUMS), Sharing(2, 1, ceilometer=True)).faults) == 1


def test_an_agent_refuses_all_of_it_at_once(read: Read, tmp_path: Path) -> None:
    config = tmp_path / "agent.conf"
    config.write_text("[notification]\nworkers = 2\n")
    values = options.values(options.parse([str(config)]))
    with pytest.raises(ConfigError) as caught:
        check_shared(read("'prometheus://', local", SUMS), values)
    assert [fault.line for fault in caught.value.faults] == [4, 5, 5]
    assert check_shared(read(step=MEANS), values) == []


OPEN = """
import sys
from urllib.parse import urlsplit
from ceilo_agent.plugins import Context
from ceilo_agent.publishers.local import Local, LocalOptions
options = {"store.path": sys.argv[1], "store.max_age": 60, "store.max_bytes": 1 << 20}
store = Local(urlsplit("local://"), LocalOptions(), Context("h", options))
store.open()
print("open", flush=True)
sys.stdin.read()
"""


def test_a_second_process_is_indeed_let_into_no_store(tmp_path: Path) -> None:
    """The reason of the refusal: the second worker would not even start."""
    command = [sys.executable, "-c", OPEN, str(tmp_path / "store.db")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "open\n"
        second = subprocess.run(command, input="", capture_output=True, text=True, check=False)
        first.communicate()
    assert second.returncode != 0
    assert f"process {first.pid} writes this store; it takes one writer" in second.stderr
