# SPDX-License-Identifier: Apache-2.0
"""What a polling cycle costs on real guests: `python -m bench.poll_cycle`, as root.

Compares the bare bulk call of libvirt, our cycle without and with the embedded store, the cycle of
Ceilometer 27 in a virtual environment of its own, a read of collectd's virt plugin and a scrape of
prometheus-libvirt-exporter (the Debian packages collectd-core and prometheus-libvirt-exporter: the
profile bench of bindep.txt). Each is a process that runs one cycle when it is told to; within a
round they take turns, so all meet the same load. Prints medians and ratios. A peer that is not
installed is left out.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import libvirt

from bench import calm, ceilometer_venv, poll_report, resident
from bench.contender import Contender, ContenderFailed, Cost
from bench.contestants import (
    OURS,
    PEERS,
    STORED,
    Contestants,
    all_groups,
    daemons,
    write_options,
)
from bench.poll_report import Costs
from bench.rpc_count import CallLog
from tests.guests import daemon
from tests.guests.errors import GuestsUnavailable
from tests.guests.fleet import fleet

PREFIX = "ceilo-bench-"
PAUSE = 0.3
"""Seconds between two cycles, for libvirtd to come to rest."""

CALM_WITHIN = 180.0
"""Seconds to wait for the guests to come to rest."""


def main() -> int:
    """Run it; 0 done, 1 could not (one line says why)."""
    options = _options()
    try:
        with _guests(options.guests, options.booted):
            venv = options.ceilometer or _ceilometer()
            with tempfile.TemporaryDirectory(prefix="ceilo_agent-bench-") as name:
                _compare(Path(name), venv, options.rounds)
    except (GuestsUnavailable, ContenderFailed, OSError, libvirt.libvirtError) as error:
        print(f"bench.poll_cycle: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench.poll_cycle: interrupted", file=sys.stderr)
        return 1
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.poll_cycle", description=__doc__)
    parser.add_argument("--guests", type=int, default=100, help="bare guests (default 100)")
    parser.add_argument("--booted", type=int, default=0, help="guests that run Linux (default 0)")
    parser.add_argument("--rounds", type=int, default=5, help="timed cycles of each (default 5)")
    parser.add_argument(
        "--ceilometer",
        type=Path,
        metavar="VENV",
        help="a virtual environment with Ceilometer; without it one is made under "
        f"{ceilometer_venv.DEFAULT_DIR}",
    )
    return parser.parse_args()


@contextlib.contextmanager
def _guests(bare: int, booted: int) -> Iterator[None]:
    """Have guests at rest; none asked for: those that run already are compared."""
    if not bare and not booted:
        yield
        return
    print(f"starting {bare} bare and {booted} booted guests ...", flush=True)
    with fleet(bare=bare, booted=booted, prefix=PREFIX) as guests:
        for guest in guests:
            guest.wait_ready()
        found = calm.wait([guest.pid for guest in guests], CALM_WITHIN)
        print(f"they rest: together they use {found:.2f} processors", flush=True)
        # A libvirtd that was just started takes seconds for its first answer: it probes QEMU.
        with daemon.connection() as handle:
            handle.getAllDomainStats(0, 0)
        yield


def _ceilometer() -> Path | None:
    try:
        return ceilometer_venv.ensure()
    except ceilometer_venv.NoCeilometer as error:
        print(f"Ceilometer is left out: {error}", flush=True)
        return None


def _compare(directory: Path, venv: Path | None, rounds: int) -> None:
    pid = daemon.pid()
    if pid is None:
        raise GuestsUnavailable("no libvirtd runs")
    programs = daemons()
    guests = _running()
    costs = _timed(directory / "timed", pid, venv, programs, rounds)
    if guests != (now := _running()):
        print(f"in the meantime {guests} guests became {now}: compare with care", flush=True)
    calls = _counted(directory / "counted", pid, venv, programs)
    memory = _memory(directory / "command")
    poll_report.show(costs, calls, guests, memory)


def _running() -> int:
    """Return how many guests run; those of others are read and measured, too."""
    with daemon.connection() as handle:
        return int(handle.numOfDomains())


def _timed(
    directory: Path, pid: int, venv: Path | None, programs: Mapping[str, str], rounds: int
) -> Costs:
    """Return the costs of each, one per round.

    Raises:
        ContenderFailed: one ended, or read nothing.
    """
    contestants = Contestants(directory, pid, venv, programs)
    try:
        costs: dict[str, list[Cost]] = {name: [] for name in contestants.names}
        for number in range(rounds + 1):
            # The first round warms up: imports, caches, XML, and readings to compare with.
            order = random.sample(contestants.names, len(contestants.names))
            for name in order:
                time.sleep(PAUSE)
                cost = contestants.cycle(name)
                if not cost.samples:
                    raise ContenderFailed(f"{name} found no guests")
                if number:
                    costs[name].append(cost)
            print(f"round {number} of {rounds}, load {os.getloadavg()[0]:.1f}", flush=True)
        return costs
    finally:
        contestants.close()


def _counted(
    directory: Path, pid: int, venv: Path | None, programs: Mapping[str, str]
) -> Mapping[str, int]:
    """Return the calls of one cycle of each, after a warm-up; not timed, for the log costs."""
    _check_count(directory, pid)
    known = ("bare", OURS, STORED, *PEERS)
    # libvirt divides the setting at spaces: the names would not do for paths.
    logs = {name: CallLog(directory / f"{number}.rpc") for number, name in enumerate(known)}
    environments = {name: log.environment for name, log in logs.items()}
    contestants = Contestants(directory, pid, venv, programs, environments)
    try:
        calls = {}
        for name in contestants.names:
            log = logs.get(name, logs["bare"])
            contestants.cycle(name)
            log.count()
            contestants.cycle(name)
            calls[name] = log.count()
        return calls
    finally:
        contestants.close()


def _check_count(directory: Path, pid: int) -> None:
    """Hold the way of counting against a known number of calls."""
    directory.mkdir()
    log = CallLog(directory / "check.rpc")
    command = [sys.executable, "bench.bare_call", str(pid), str(all_groups())]
    contender = Contender(command, directory / "check.log", log.environment)
    try:
        contender.cycle("describe 1")
        log.count()
        made = contender.cycle("describe 3").samples
        counted = log.count()
    finally:
        contender.close()
    if counted != made:
        raise ContenderFailed(f"the count of calls is wrong: {counted}, but {made} were made")


def _memory(directory: Path) -> Mapping[str, tuple[float, float]]:
    """Return the memory of the real command, by its namespaces."""
    found = {}
    for namespaces in ("compute", "compute,host"):
        own = directory / namespaces
        own.mkdir(parents=True)
        found[namespaces] = resident.of_command(write_options(own), own / "log", namespaces, 10)
    return found


if __name__ == "__main__":
    sys.exit(main())
