# SPDX-License-Identifier: Apache-2.0
"""The page of meters: up to date, and the same as what the command says."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from ceilo_agent.cli.meters import rows
from ceilo_agent.meters.catalogue import NAMESPACES, catalogue

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "doc" / "source" / "meters.rst"
GENERATE = ROOT / "doc" / "generate.py"


def tables(text: str) -> Iterator[tuple[list[str], list[list[str]]]]:
    """Yield header and rows of each list-table: cells as a reader sees them."""
    for block in text.split(".. list-table::")[1:]:
        found: list[list[str]] = []
        for line in block.splitlines():
            match = re.match(r"   (\* | {2})-(?: (.*))?$", line)
            if match is None:
                continue
            if match[1] == "* ":
                found.append([])
            found[-1].append(re.sub(r"\\(.)", r"\1", match[2] or "").replace("``", ""))
        yield found[0], found[1:]


def test_the_page_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, GENERATE, "--check"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr


def test_an_old_page_is_found_and_written_anew(tmp_path: Path) -> None:
    shutil.copytree(
        GENERATE.parent, tmp_path / "doc", ignore=shutil.ignore_patterns("source", "build")
    )
    copy = tmp_path / "doc" / "generate.py"

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, copy, *arguments],
            capture_output=True, text=True, check=False, cwd=ROOT,
        )  # fmt: skip

    assert run("--check").returncode == 1
    assert run().returncode == 0
    assert run("--check").returncode == 0
    page = tmp_path / "doc" / "source" / "meters.rst"
    assert page.read_text("utf-8") == PAGE.read_text("utf-8")
    page.write_text(page.read_text("utf-8") + "by hand\n", "utf-8")
    stale = run("--check")
    assert stale.returncode == 1
    assert "meters.rst: out of date" in stale.stderr
    gone = tmp_path / "doc" / "source" / "publishers" / "carrier-pigeon.rst"
    gone.write_text("coo\n")
    assert "carrier-pigeon.rst: its publisher is gone" in run("--check").stderr
    assert run().returncode == 0
    assert not gone.exists()


def test_the_page_and_the_command_say_the_same() -> None:
    listed = [
        dict(zip(header, row, strict=True))
        for header, body in tables(PAGE.read_text("utf-8"))
        if header[0] == "Name"
        for row in body
    ]
    ceilometers = {
        entry.name
        for namespace in NAMESPACES
        for entry in catalogue(namespace).meters
        if entry.ceilometer
    }
    expected = [
        {
            "Name": row["name"],
            "Unit": row["unit"],
            "Type": row["type"],
            "Ceilometer": "✓" if row["name"] in ceilometers else "",
            "Description": row["description"],
        }
        for row in rows()
    ]
    assert sorted(listed, key=by_name) == sorted(expected, key=by_name)


def by_name(row: dict[str, str]) -> str:
    return row["Name"]


def test_the_page_says_what_is_left_out_and_why() -> None:
    reasons = [
        row[1]
        for header, body in tables(PAGE.read_text("utf-8"))
        if header[0] == "Fields"
        for row in body
    ]
    assert reasons == [
        left.reason for namespace in NAMESPACES for left in catalogue(namespace).left_out
    ]
