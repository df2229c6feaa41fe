# SPDX-License-Identifier: Apache-2.0
"""A real Gnocchi on PostgreSQL: its API and the daemon that aggregates, on loopback.

with gnocchi.running(directory) as server:
    ... gnocchi://127.0.0.1:{server.port} ...
    server.drain()
    server.points("cpu", "guest-1")
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import requests

from tests.services import gunicorn, postgresql, venvs
from tests.services.process import Process, free_port, run

VERSION = "4.7.1"
REQUIREMENTS = (f"gnocchi[postgresql,file,keystone]=={VERSION}", gunicorn.REQUIREMENT)

CONF = """
[DEFAULT]
coordination_url = file://{directory}/coordination
[api]
auth_mode = {auth_mode}
[indexer]
url = {database}
[storage]
driver = file
file_basepath = {directory}/data
[incoming]
driver = file
file_basepath = {directory}/incoming
[metricd]
workers = 1
metric_processing_delay = 1
{more}
"""

# oslo.config reads the command line, which is gunicorn's.
WSGI = """
import os, sys
sys.argv = ["gnocchi-api", "--config-file", os.environ["GNOCCHI_CONF"]]
from gnocchi.wsgi.api import application
"""


class Gnocchi:
    """One that runs.

    Attributes:
        url: of the API, without ``/v1``.
        port: of the API; it stays the same over `stop` and `start`.
        headers: what lets requests of tests in.
    """

    def __init__(self, programs: Path, directory: Path, headers: Mapping[str, str]) -> None:
        self._programs = programs
        self._directory = directory
        self._environment = {
            "GNOCCHI_CONF": str(directory / ".gnocchi" / "gnocchi.conf"),
            # keystonemiddleware looks for the file there, whatever the command line says.
            "HOME": str(directory),
        }
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.headers = headers
        self._api: Process | None = None
        self._metricd: Process | None = None

    def upgrade(self) -> None:
        """Make the tables."""
        run([str(self._programs / "gnocchi-upgrade"), *self._options], self._environment, None, 60)

    def start(self) -> None:
        """Start the API, on the same port as before."""
        application = ("--chdir", str(self._directory), "gnocchi_wsgi:application")
        command = gunicorn.command(self._programs, self.port, *application)
        self._api = Process(command, self._directory / "gnocchi-api.log", self._environment)
        self._api.wait_until(self._answers)

    def stop(self) -> None:
        """End the API: connections are refused."""
        if self._api is not None:
            self._api.stop()
            self._api = None

    def kill(self) -> None:
        """End the API at once, in the middle of whatever it does."""
        assert self._api is not None
        self._api.kill()
        self._api = None

    def start_metricd(self) -> None:
        """Start what aggregates."""
        log = self._directory / "gnocchi-metricd.log"
        program = str(self._programs / "gnocchi-metricd")
        self._metricd = Process([program, *self._options], log, self._environment)

    def wait_for_metricd(self, seconds: float = 60) -> None:
        """Wait until the API knows of what aggregates: until then its status is an error."""
        assert self._metricd is not None
        self._metricd.wait_until(lambda: self._get("/v1/status").ok, seconds)

    def close(self) -> None:
        """End everything."""
        for process in (self._api, self._metricd):
            if process is not None:
                process.kill()

    # -- the API ---------------------------------------------------------------------------------

    def ask(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """Ask the API and return what its JSON says; other than 2xx is an error."""
        headers = {**self.headers, "Accept": "application/json"}
        answer = requests.request(
            method, f"{self.url}/v1{path}", json=body, headers=headers, timeout=60, **options
        )
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def create_policy(self, name: str, granularity: float = 1, **more: Any) -> None:
        """Create an archive policy of one granularity, of 10,000 points, with mean and count."""
        definition = [{"granularity": granularity, "points": 10_000}]
        methods = {"aggregation_methods": ["mean", "count"]}
        self.ask(
            "POST", "/archive_policy", {"name": name, "definition": definition, **methods, **more}
        )

    def drain(self, seconds: float = 120) -> None:
        """Wait until all measures that were taken can be read."""
        end = time.monotonic() + seconds
        while self.ask("GET", "/status?details=false")["storage"]["summary"]["measures"]:
            assert time.monotonic() < end, "Gnocchi has not aggregated all measures in time"
            time.sleep(0.1)

    def resources(self, kind: str = "generic") -> dict[str, dict[str, Any]]:
        """Return all resources of a type by the id that they were created with."""
        listed = self.ask("GET", f"/resource/{kind}?details=true&limit=1000")
        return {each["original_resource_id"]: each for each in listed}

    def points(
        self, names: Collection[str], method: str = "mean"
    ) -> dict[tuple[str, str], list[tuple[float, float]]]:
        """Return every point of the metrics of some resources: time and value, by both names.

        Args:
            names: ids that the resources were created with; their metrics share a granularity.
            method: of aggregation.
        """
        metrics = {
            metric: (own, name)
            for own, resource in self.resources().items()
            for name, metric in resource["metrics"].items()
            if own in names
        }
        if not metrics:
            return {}
        body = {"operations": ["metric", *([metric, method] for metric in metrics)]}
        found = self.ask("POST", "/aggregates", body)["measures"]
        return {
            metrics[metric]: [(seconds(time), value) for time, _, value in by_method[method]]
            for metric, by_method in found.items()
        }

    @property
    def _options(self) -> list[str]:
        return ["--config-file", self._environment["GNOCCHI_CONF"]]

    def _answers(self) -> bool:
        try:
            self._get("/")
        except requests.RequestException:
            return False
        return True

    def _get(self, path: str) -> requests.Response:
        return requests.get(f"{self.url}{path}", headers=self.headers, timeout=5)


def seconds(moment: str) -> float:
    """Return a time that Gnocchi shows as seconds since 1970."""
    return datetime.fromisoformat(moment).timestamp()


@contextlib.contextmanager
def running(
    directory: Path,
    auth_mode: str = "basic",
    sections: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
    headers: Mapping[str, str] = MappingProxyType({"Authorization": "Basic YWRtaW46"}),
) -> Iterator[Gnocchi]:
    """A Gnocchi, empty, for the length of a block.

    Args:
        directory: of its own.
        auth_mode: basic or keystone.
        sections: more of its configuration file.
        headers: what lets requests of tests in.

    Raises:
        ServiceUnavailable: it cannot be installed, or does not start.
    """
    programs = venvs.ensure("gnocchi", *REQUIREMENTS)
    with postgresql.running(directory) as database:
        more = [
            f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in values.items())
            for name, values in sections.items()
        ]
        conf = directory / ".gnocchi" / "gnocchi.conf"
        conf.parent.mkdir()
        conf.write_text(
            CONF.format(
                directory=directory,
                auth_mode=auth_mode,
                database=database.create("gnocchi"),
                more="\n".join(more),
            )
        )
        (directory / "gnocchi_wsgi.py").write_text(WSGI)
        server = Gnocchi(programs, directory, headers)
        try:
            server.upgrade()
            server.start_metricd()
            server.start()
            server.wait_for_metricd()
            yield server
        finally:
            server.close()
