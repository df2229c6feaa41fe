# SPDX-License-Identifier: Apache-2.0
"""Who is compared: the processes, and what each is told for a cycle."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bench.contender import Contender, Cost
from ceilo_agent.inspection.libvirt.layout import Layout
from ceilo_agent.meters.catalogue import catalogue

FAN_OUTS: Final = (1, 2, 3, 4)
BARE: Final = "bare call, {} threads"
OURS: Final = "ours, no store"
STORED: Final = "ours, with the store"
CEILOMETER: Final = "Ceilometer 27"

OPTIONS = """
[DEFAULT]
host = bench
state_path = {directory}/state
pipeline_cfg_file = {directory}/pipeline.yaml
[polling]
namespaces = compute
[libvirt]
uri = qemu:///system
"""

PIPELINE = """
sources:
  - {{name: bench, interval: 60, meters: ["*"], sinks: [store]}}
sinks:
  - {{name: store, publishers: ["local://{directory}/state/store.db"]}}
"""


def all_groups() -> int:
    """Return the flags of the groups that all our meters need."""
    meters = catalogue("compute")
    return Layout(meters, frozenset(entry.name for entry in meters.meters)).groups


class Contestants:
    """One process each, under their names.

    Args:
        directory: of their own, for what they write.
        daemon: libvirtd's process id.
        ceilometer: the virtual environment it is in, None to leave it out.
        environments: added to the environment of each, by the names of `processes`.
    """

    def __init__(
        self,
        directory: Path,
        daemon: int,
        ceilometer: Path | None,
        environments: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        commands = {"bare": ["bench.bare_call", str(daemon), str(all_groups())]}
        for name, kind in ((OURS, "none"), (STORED, "store")):
            own = directory / kind
            own.mkdir(parents=True)
            options = write_options(own)
            commands[name] = ["bench.our_cycle", str(daemon), str(options), kind]
        if ceilometer is not None:
            own = directory / "ceilometer"
            own.mkdir()
            commands[CEILOMETER] = ["bench.ceilometer_cycle", str(daemon), str(own)]
        self.processes: dict[str, Contender] = {}
        for name, command in commands.items():
            python = sys.executable
            if name == CEILOMETER:
                python = f"{ceilometer}/bin/python"
            log = directory / f"{name}.log"
            more = (environments or {}).get(name)
            self.processes[name] = Contender([python, *command], log, more)
        bare = [BARE.format(threads) for threads in FAN_OUTS]
        self.names = [*bare, *(name for name in commands if name != "bare")]

    def cycle(self, name: str) -> Cost:
        """Run one cycle of one of `names`."""
        for threads in FAN_OUTS:
            if name == BARE.format(threads):
                return self.processes["bare"].cycle(str(threads))
        cost = self.processes[name].cycle()
        if name == CEILOMETER:
            cost = cost._replace(samples=self.processes[name].cycle("count").samples)
        return cost

    def close(self) -> None:
        """End them all."""
        for process in self.processes.values():
            process.close()


def write_options(directory: Path) -> Path:
    """Write options and a pipeline file for us, and return the options' path."""
    path = directory / "ceilo_agent.conf"
    path.write_text(OPTIONS.format(directory=directory))
    (directory / "pipeline.yaml").write_text(PIPELINE.format(directory=directory))
    return path
