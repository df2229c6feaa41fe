# SPDX-License-Identifier: Apache-2.0
"""Who is compared: the processes, and what each is told for a cycle."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

from bench import collectd, exporter
from bench.contender import Contender, Cost
from bench.peer import NoPeer, version
from ceilo_agent.inspection.libvirt.layout import Layout
from ceilo_agent.meters.catalogue import catalogue

FAN_OUTS: Final = (1, 2, 3, 4)
BARE: Final = "bare call, {} threads"
OURS: Final = "ours, no store"
STORED: Final = "ours, with the store"
CEILOMETER: Final = "Ceilometer 27"
COLLECTD: Final = "collectd, virt plugin"
EXPORTER: Final = "libvirt exporter"
PEERS: Final = (CEILOMETER, COLLECTD, EXPORTER)

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


class Runner(Protocol):
    """Who runs a cycle when it is told to."""

    def cycle(self, words: str = ...) -> Cost:
        """Run one and return what it cost."""

    def close(self) -> None:
        """End."""


def daemons() -> dict[str, str]:
    """Return the programs of the peers that are daemons; print which they are, or what lacks."""
    found = {}
    for name, peer in ((COLLECTD, collectd), (EXPORTER, exporter)):
        try:
            found[name] = peer.find()
        except NoPeer as error:
            print(f"{name} is left out: {error}", flush=True)
        else:
            print(f"{name} is {peer.PACKAGE} {version(peer.PACKAGE)}", flush=True)
    return found


class Contestants:
    """One process each, under their names.

    Args:
        directory: of their own, for what they write.
        daemon: libvirtd's process id.
        ceilometer: the virtual environment it is in, None to leave it out.
        programs: of the peers that are daemons, as `daemons` gives them.
        environments: added to the environment of each, by the names of `processes`.
    """

    def __init__(
        self,
        directory: Path,
        daemon: int,
        ceilometer: Path | None,
        programs: Mapping[str, str],
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
        self.processes: dict[str, Runner] = {}
        more = environments or {}
        try:
            for name, command in commands.items():
                python = sys.executable if name != CEILOMETER else f"{ceilometer}/bin/python"
                log = directory / f"{name}.log"
                self.processes[name] = Contender([python, *command], log, more.get(name))
            for name, program in programs.items():
                own = directory / Path(program).name
                own.mkdir()
                peer = collectd.Collectd if name == COLLECTD else exporter.Exporter
                self.processes[name] = peer(program, daemon, own, more.get(name))
        except BaseException:
            self.close()
            raise
        bare = [BARE.format(threads) for threads in FAN_OUTS]
        self.names = [*bare, *(name for name in self.processes if name != "bare")]

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
