# SPDX-License-Identifier: Apache-2.0
"""The table of a comparison of polling cycles, and its ratios beside what is to be reached."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from bench.contender import Cost
from bench.contestants import (
    BARE,
    CEILOMETER,
    COLLECTD,
    EXPORTER,
    FAN_OUTS,
    OURS,
    PEERS,
    STORED,
)

Costs = Mapping[str, Sequence[Cost]]
"""By name, one per round."""

Figure = Callable[[Cost], float]


def _wall(cost: Cost) -> float:
    return cost.wall


def _client(cost: Cost) -> float:
    return cost.client


def _daemon(cost: Cost) -> float:
    return cost.daemon


def _samples(cost: Cost) -> float:
    return cost.samples


TARGETS: Final[tuple[tuple[str, str, Figure, str, tuple[str, ...]], ...]] = (
    ("wall", CEILOMETER, _wall, "<= 0.20", (OURS, STORED)),
    ("wall", EXPORTER, _wall, "", (OURS, STORED)),
    ("client CPU", CEILOMETER, _client, "<= 0.033", (OURS,)),
    ("client CPU", CEILOMETER, _client, "<= 0.067", (STORED,)),
    ("client CPU", EXPORTER, _client, "<= 0.5", (OURS, STORED)),
    ("client CPU", COLLECTD, _client, "", (OURS, STORED)),
    ("libvirtd CPU", COLLECTD, _daemon, "< 1", (OURS, STORED)),
    ("libvirtd CPU", EXPORTER, _daemon, "", (OURS,)),
    ("libvirtd CPU", CEILOMETER, _daemon, "", (OURS,)),
    ("samples", CEILOMETER, _samples, ">= 1.7", (OURS,)),
    ("samples", COLLECTD, _samples, "> 1", (OURS,)),
    ("samples", EXPORTER, _samples, "> 1", (OURS,)),
)
"""What is compared, with whom, the figure, what to reach, and who of ours."""


def show(
    costs: Costs,
    calls: Mapping[str, int],
    guests: int,
    memory: Mapping[str, tuple[float, float]],
) -> None:
    """Print all of it.

    Args:
        costs: of each contestant.
        calls: of a cycle of each.
        guests: that ran.
        memory: of the real command: resident and peak in MB, by its namespaces.
    """
    _table(costs, calls, guests)
    _ratios(costs, calls, memory)


def _table(costs: Costs, calls: Mapping[str, int], guests: int) -> None:
    print(
        f"\n{'median (min..max) of a cycle':28} {'wall s':>18} {'client CPU ms':>21} "
        f"{'libvirtd CPU ms':>18} {'samples':>8} {'a guest':>8} {'calls':>6} {'MB':>4} {'peak':>5}"
    )
    for name, own in costs.items():
        wall = _spread([c.wall for c in own], ".2f")
        client = _spread([c.client * 1e3 for c in own], ".1f")
        used = _spread([c.daemon * 1e3 for c in own], ".0f")
        samples = statistics.median(map(_samples, own))
        # The bare call makes replies, not samples.
        made = "-" if name.startswith("bare") else f"{samples:.0f}"
        each = "-" if name.startswith("bare") else f"{samples / guests:.1f}"
        print(
            f"{name:28} {wall:>18} {client:>21} {used:>18} {made:>8} {each:>8} {calls[name]:>6} "
            f"{own[-1].resident:4.0f} {max(c.peak for c in own):5.0f}"
        )


def _ratios(
    costs: Costs, calls: Mapping[str, int], memory: Mapping[str, tuple[float, float]]
) -> None:
    print("\nratio: median (min..max) of the rounds; what to reach is for 100 bare guests")
    fastest = min(
        (BARE.format(threads) for threads in FAN_OUTS),
        key=lambda name: statistics.median(map(_wall, costs[name])),
    )
    for name in (OURS, STORED):
        _compare("wall", costs, name, fastest, _wall, "<= 1.15")
    for what, other, figure, target, ours in TARGETS:
        for name in ours if other in costs else ():
            _compare(what, costs, name, other, figure, target)
    told = " / ".join(str(calls[name]) for name in (OURS, *PEERS) if name in calls)
    _line("calls: ours / the peers, in the table's order", told, "a handful")
    _line(f"peak memory: {STORED}", f"{max(c.peak for c in costs[STORED]):.0f} MB", "<= 60 MB")
    for namespaces, (now, peak) in memory.items():
        what = f"memory: ceilo-agent polling, {namespaces}"
        _line(what, f"{now:.0f} MB, peak {peak:.0f}", "<= 60 MB")


def _compare(what: str, costs: Costs, name: str, other: str, figure: Figure, target: str) -> None:
    """Print a ratio; a figure of nothing on the other side is left out."""
    pairs = [(figure(a), figure(b)) for a, b in zip(costs[name], costs[other], strict=True)]
    ratios = [a / b for a, b in pairs if b]
    form = ".3f" if other == CEILOMETER and figure is _client else ".2f"
    _line(f"{what}: {name} / {other}", _spread(ratios, form) if ratios else "-", target)


def _line(what: str, found: str, target: str) -> None:
    print(f"  {what:60} {found:24} {target}")


def _spread(values: Sequence[float], form: str) -> str:
    low, high = min(values), max(values)
    return f"{statistics.median(values):{form}} ({low:{form}}..{high:{form}})"
