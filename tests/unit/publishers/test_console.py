# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ceilo_agent.sample import Meter, Resource, Sample, SampleType
from tests.unit.publishers.kinds import build

CODE = """
import sys
from pathlib import Path
from ceilo_agent.errors import DeliveryError
from tests.unit.publishers.kinds import build
from tests.unit.store.samples import cycle
publisher = build("console://", Path("/nowhere"))
publisher.open()
print("before")
for number in range(int(sys.argv[1])):
    try:
        publisher.push(cycle(number))
    except DeliveryError as error:
        print(type(error).__name__, error, file=sys.stderr)
        break
"""
ENV = {**os.environ, "PYTHONPATH": ":".join(sys.path)}


def test_a_line_of_text_per_sample(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publisher = build("console://", tmp_path)
    publisher.open()
    resource = Resource("gäst\n\x1b[31m1", None, None, "instance", {})
    publisher.push(
        [
            Sample(Meter("cpu", "ns", SampleType.CUMULATIVE), resource, 1.5, 2**64 - 1),
            Sample(Meter("load", "", SampleType.GAUGE), resource, 2.0, 0.25),
        ]
    )
    assert capsys.readouterr().out == (
        "1970-01-01T00:00:01.500000+00:00  gäst\ufffd\ufffd[31m1  cpu  18446744073709551615  ns\n"
        "1970-01-01T00:00:02.000000+00:00  gäst\ufffd\ufffd[31m1  load  0.25  \n"
    )


def test_it_keeps_its_place_among_what_is_printed() -> None:
    command = [sys.executable, "-c", CODE, "2"]
    done = subprocess.run(command, env=ENV, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0] == "before"
    assert len(lines) == 1 + 2 * 6


def test_a_reader_that_left_is_told_without_a_traceback() -> None:
    command = [sys.executable, "-c", CODE, "100000"]
    with subprocess.Popen(
        command, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == "Permanent standard output: Broken pipe\n"
    assert process.returncode == 0


def test_a_full_disk_is_told() -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-c", CODE.replace('print("before")', ""), "5"]
        done = subprocess.run(
            command, env=ENV, stdout=full, stderr=subprocess.PIPE, text=True, check=True
        )
    assert done.stderr == "Retryable no space left for standard output\n"
