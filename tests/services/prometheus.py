# SPDX-License-Identifier: Apache-2.0
"""A real Prometheus on loopback, which scrapes and takes remote write.

with prometheus.running(directory, scrape=["127.0.0.1:9101"]) as server:
    ... remote-write://127.0.0.1:{server.port}/api/v1/write ...
    server.values('ceilo_cpu_seconds_total')
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import requests

from tests.services.errors import ServiceUnavailable
from tests.services.process import Process, free_port

Labels = frozenset[tuple[str, str]]


class Prometheus:
    """One that runs.

    Attributes:
        port: that it listens on; it stays the same over `stop` and `start`.
        url: without a path.
    """

    def __init__(self, directory: Path, config: Mapping[str, Any]) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._directory = directory
        self._process: Process | None = None
        # Every JSON document is one of YAML.
        (directory / "prometheus.yml").write_text(json.dumps(config))

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        self._process = Process(
            [
                "prometheus",
                f"--config.file={self._directory}/prometheus.yml",
                f"--storage.tsdb.path={self._directory}/data",
                f"--web.listen-address=127.0.0.1:{self.port}",
                "--web.enable-remote-write-receiver",
            ],
            self._directory / "prometheus.log",
        )
        self._process.wait_until(self._ready)

    def stop(self) -> None:
        """End it; what it has stored stays."""
        if self._process is not None:
            self._process.stop()

    def kill(self) -> None:
        """End it as a power cut does."""
        if self._process is not None:
            self._process.kill()

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the answer to a query at this moment."""
        answer = requests.get(f"{self.url}/api/v1/query", {"query": expression}, timeout=10).json()
        assert answer["status"] == "success", answer
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def values(self, expression: str) -> dict[Labels, float]:
        """Return the value of each series of a query; names are left out of the labels."""
        return {_labels(one): float(one["value"][1]) for one in self.query(expression)}

    def points(self, name: str, within: str = "1d") -> dict[Labels, list[tuple[float, float]]]:
        """Return all that is stored of a metric: times in seconds, and values."""
        return {
            _labels(one): [(time, float(value)) for time, value in one["values"]]
            for one in self.query(f"{name}[{within}]")
        }

    def metadata(self) -> dict[str, dict[str, str]]:
        """Return the type and the help of each metric that it scraped."""
        data = requests.get(f"{self.url}/api/v1/metadata", timeout=10).json()["data"]
        return {name: entries[0] for name, entries in data.items()}

    def targets(self) -> list[dict[str, Any]]:
        """Return what it scrapes, and how that goes."""
        data = requests.get(f"{self.url}/api/v1/targets", timeout=10).json()["data"]
        found: list[dict[str, Any]] = data["activeTargets"]
        return found

    def _ready(self) -> bool:
        with contextlib.suppress(requests.ConnectionError):
            return requests.get(f"{self.url}/-/ready", timeout=5).ok
        return False


def _labels(one: Mapping[str, Any]) -> Labels:
    return frozenset((name, value) for name, value in one["metric"].items() if name != "__name__")


@contextlib.contextmanager
def running(
    directory: Path,
    *,
    scrape: Sequence[Mapping[str, Any]] = (),
    window: str = "0s",
) -> Iterator[Prometheus]:
    """Run one for the length of a block.

    Args:
        directory: for its data and its log.
        scrape: its scrape_configs.
        window: how far a value may be out of order.

    Raises:
        ServiceUnavailable: this machine has none.
    """
    if shutil.which("prometheus") is None:
        raise ServiceUnavailable("prometheus is not installed")
    config = {
        "global": {"scrape_interval": "1s"},
        "scrape_configs": list(scrape),
        "storage": {"tsdb": {"out_of_order_time_window": window}},
    }
    directory.mkdir(parents=True, exist_ok=True)
    server = Prometheus(directory, config)
    try:
        server.start()
        yield server
    finally:
        server.kill()
