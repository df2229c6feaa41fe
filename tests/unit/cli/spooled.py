# SPDX-License-Identifier: Apache-2.0
"""A log as an agent leaves it, written row by row, and the commands on it."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ceilo_agent.delivery import entries
from ceilo_agent.delivery.schema import FILE, TABLES
from ceilo_agent.sample import Meter, Resource, Sample, SampleType

MEMORY = Meter("memory.usage", "MB", SampleType.GAUGE)
COMMAND = [sys.executable, "-c", "from ceilo_agent.cli.main import run; run()"]
PIPELINE = """\
sources:
  - {{name: guests, interval: 60, meters: [cpu], sinks: [store]}}
sinks:
  - {{name: store, publishers: [{publishers}]}}
"""
START = 1_767_225_600.0  # 2026-01-01T00:00:00Z


def sample(number: int, resource: str = "vm-1") -> Sample:
    owner = Resource(resource, "p", None, "instance", {"display_name": "web\x1b[31m"})
    return Sample(MEMORY, owner, START + number, number + 0.5)


class Written:
    """A log's file that is being written. Publishers get what is offered to each of them."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / FILE
        self.db = sqlite3.connect(self.path, isolation_level=None)
        self.db.execute("PRAGMA journal_mode = WAL").fetchall()
        self.db.executescript(TABLES)
        self._seq = 0

    def publisher(self, name: str, **counters: int) -> int:
        values = {"delivered": 0, "dropped": 0} | counters
        cursor = self.db.execute(
            "INSERT INTO publisher VALUES (NULL, ?, 1, 0, ?, ?, 0, ?, ?, 0, NULL)",
            (name, sum(values.values()), values["delivered"], values["dropped"], START),
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def offer(
        self, publishers: Sequence[int], samples: Sequence[Sample], at: float, again: int = 0
    ) -> int:
        """Add a row for some publishers; return its number."""
        self._seq += 1
        audience = sum(1 << number for number in publishers)
        self.db.executemany(
            "INSERT OR IGNORE INTO member VALUES (?, ?)", [(audience, one) for one in publishers]
        )
        data = entries.compress(samples)[0]
        row = (self._seq, audience, at, len(samples), again)
        self.db.execute(
            "INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?)",
            (*row, len(data) + entries.SEAL_BYTES, entries.seal_row(data, *row)),
        )
        for number in publishers:
            self.db.execute(
                "UPDATE publisher SET offered = offered + ? WHERE id = ?", (len(samples), number)
            )
        return self._seq

    def deliver(self, publisher: int, seq: int, done: int, delivered: int) -> None:
        """Move a cursor."""
        self.db.execute(
            "UPDATE publisher SET seq = ?, done = ?, delivered = delivered + ? WHERE id = ?",
            (seq, done, delivered, publisher),
        )

    def refuse(self, publisher: int, samples: Sequence[Sample], at: float, reason: str) -> int:
        """Set samples aside that were never offered before; return their number."""
        (last,) = self.db.execute("SELECT coalesce(max(number), 0) FROM aside").fetchone()
        row = (last + 1, publisher, at, reason, len(samples))
        data = entries.seal_aside(entries.compress(samples)[0], *row)
        self.db.execute("INSERT INTO aside VALUES (?, ?, ?, ?, ?, ?, 0)", (*row, data))
        self.db.execute(
            "UPDATE publisher SET offered = offered + ?, set_aside = set_aside + ? WHERE id = ?",
            (len(samples), len(samples), publisher),
        )
        return row[0]

    def close(self) -> None:
        self.db.close()


class Spool:
    """A spool directory, a configuration that names it, and the command on both."""

    def __init__(self, root: Path) -> None:
        self.directory = root / "spool"
        self.zero = self.directory / "polling" / "0"
        self.config = root / "agent.conf"
        self._pipeline = root / "pipeline.yaml"
        self.config.write_text(
            f"[DEFAULT]\npipeline_cfg_file = {self._pipeline}\n"
            f"[delivery]\nspool_dir = {self.directory}\n"
        )
        self.publishers("console")

    def publishers(self, text: str) -> None:
        self._pipeline.write_text(PIPELINE.format(publishers=text))

    def durable(self, name: str) -> None:
        """Have a publisher of this name that waits on disk."""
        text = PIPELINE.format(publishers=name)
        self._pipeline.write_text(f"{text}publishers:\n  {name}: http://127.0.0.1:1/\n")

    def delivery(self, text: str) -> None:
        """Add options to [delivery]."""
        with self.config.open("a") as file:
            file.write(text)

    def run(self, *arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*COMMAND, "--config-file", self.config, "spool", *arguments],
            env={**os.environ, "PYTHONPATH": ":".join(sys.path), "COLUMNS": "100"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--output", "json").stdout)


def tree(directory: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}
