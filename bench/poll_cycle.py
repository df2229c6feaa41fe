# SPDX-License-Identifier: Apache-2.0
"""What a polling cycle costs on real guests: `python -m bench.poll_cycle`, as root.

Compares the bare bulk call of libvirt, our cycle without and with the embedded store, and the cycle
of Ceilometer 27 in a virtual environment of its own. Each is a process that runs one cycle when it
is told to; within a round they take turns, so all meet the same load. Prints medians and ratios.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import libvirt

from bench import calm, ceilometer_venv, resident
from bench.contender import Contender, ContenderFailed, Cost
from bench.contestants import (
    BARE,
    CEILOMETER,
    FAN_OUTS,
    OURS,
    STORED,
    Contestants,
    all_groups,
    write_options,
)
from bench.rpc_count import CallLog
from tests.guests import daemon
from tests.guests.errors import GuestsUnavailable
from tests.guests.fleet import fleet

PREFIX = "ceilo-bench-"
PAUSE = 0.3
"""Seconds between two cycles, for libvirtd to come to rest."""

CALM_WITHIN = 180.0
"""Seconds to wait for the guests to come to rest."""

Costs = Mapping[str, Sequence[Cost]]


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
    costs = _timed(directory / "timed", pid, venv, rounds)
    calls = _counted(directory / "counted", pid, venv)
    memory = _memory(directory / "command")
    best = min(
        (BARE.format(threads) for threads in FAN_OUTS), key=lambda name: _median(costs[name], _wall)
    )
    _table(costs, calls)
    _ratios(costs, calls, memory, best)


def _timed(directory: Path, pid: int, venv: Path | None, rounds: int) -> Costs:
    """Return the costs of each, one per round.

    Raises:
        ContenderFailed: one ended, or read nothing.
    """
    contestants = Contestants(directory, pid, venv)
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


def _counted(directory: Path, pid: int, venv: Path | None) -> Mapping[str, int]:
    """Return the calls of one cycle of each, after a warm-up; not timed, for the log costs."""
    _check_count(directory, pid)
    known = ("bare", OURS, STORED, CEILOMETER)
    # libvirt divides the setting at spaces: the names would not do for paths.
    logs = {name: CallLog(directory / f"{number}.rpc") for number, name in enumerate(known)}
    environments = {name: log.environment for name, log in logs.items()}
    contestants = Contestants(directory, pid, venv, environments)
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


def _wall(cost: Cost) -> float:
    return cost.wall


def _client(cost: Cost) -> float:
    return cost.client


def _samples(cost: Cost) -> float:
    return cost.samples


def _median(costs: Sequence[Cost], figure: Callable[[Cost], float]) -> float:
    return statistics.median(map(figure, costs))


def _table(costs: Costs, calls: Mapping[str, int]) -> None:
    print(
        f"\n{'median (min..max) of a cycle':22} {'wall s':>20} {'client CPU ms':>22} "
        f"{'libvirtd CPU s':>18} {'samples':>8} {'calls':>6} {'MB':>4} {'peak':>5}"
    )
    for name, own in costs.items():
        wall = _spread([c.wall for c in own], ".2f")
        client = _spread([c.client * 1e3 for c in own], ".1f")
        used = _spread([c.daemon for c in own], ".2f")
        # The bare call makes replies, not samples.
        samples = 0 if name.startswith("bare") else int(_median(own, _samples))
        print(
            f"{name:28} {wall:>20} {client:>22} {used:>18} {samples or '-':>8} {calls[name]:>6} "
            f"{own[-1].resident:4.0f} {max(c.peak for c in own):5.0f}"
        )


def _spread(values: Sequence[float], form: str) -> str:
    low, high = min(values), max(values)
    return f"{statistics.median(values):{form}} ({low:{form}}..{high:{form}})"


def _ratios(
    costs: Costs,
    calls: Mapping[str, int],
    memory: Mapping[str, tuple[float, float]],
    best: str,
) -> None:
    """Print the ratios, each the median over the rounds, beside what is to be reached."""
    print("\nratio: median (min..max) of the rounds; what to reach is for 100 bare guests")
    for name in (OURS, STORED):
        ratios = _by_round(costs[name], costs[best], _wall)
        _line(f"wall: {name} / {best}", _spread(ratios, ".2f"), "<= 1.15")
    if CEILOMETER in costs:
        theirs = costs[CEILOMETER]
        for name, target in ((OURS, 30), (STORED, 15)):
            ratios = _by_round(theirs, costs[name], _client)
            told = "1/" + _spread(ratios, ".0f")
            _line(f"client CPU: {name} / Ceilometer", told, f"<= 1/{target}")
        for name in (OURS, STORED):
            _line(f"wall: {name} / Ceilometer",
                  _spread(_by_round(costs[name], theirs, _wall), ".2f"), "")  # fmt: skip
        samples = _spread(_by_round(costs[OURS], theirs, _samples), ".2f")
        _line("samples: ours / Ceilometer", samples, ">= 1.7")
        _line("calls: ours / Ceilometer", f"{calls[OURS]} / {calls[CEILOMETER]}", "a handful")
    else:
        _line("calls: ours", str(calls[OURS]), "a handful")
    _line(f"peak memory: {STORED}", f"{max(c.peak for c in costs[STORED]):.0f} MB", "<= 60 MB")
    for namespaces, (now, peak) in memory.items():
        what = f"memory: ceilo-agent polling, {namespaces}"
        _line(what, f"{now:.0f} MB, peak {peak:.0f}", "<= 60 MB")


def _by_round(
    ours: Sequence[Cost], others: Sequence[Cost], figure: Callable[[Cost], float]
) -> list[float]:
    return [figure(a) / figure(b) for a, b in zip(ours, others, strict=True)]


def _line(what: str, found: str, target: str) -> None:
    print(f"  {what:52} {found:24} {target}")


if __name__ == "__main__":
    sys.exit(main())
