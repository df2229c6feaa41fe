# SPDX-License-Identifier: Apache-2.0
"""What it costs to store samples in Gnocchi: ``python -m bench.gnocchi``.

Our publisher against that of Ceilometer 27, on one and the same real Gnocchi: 200 resources with 20
metrics each, the first push, which creates them, and some more. Ceilometer's gets batches of 50, as
its polling agent sends them by default, and in a second run batches of 1,000, as ours does.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bench import ceilometer_venv
from bench.contender import Contender, ContenderFailed
from bench.push_load import METERS, ids
from ceilo_agent.publishers.gnocchi.definitions import Definitions
from tests.services import faulty, gnocchi
from tests.services.errors import ServiceUnavailable

OURS = "ours, batches of 1,000"
THEIRS = "Ceilometer 27, batches of 50"
WIDE = "Ceilometer 27, batches of 1,000"
SIZES = {OURS: 1000, THEIRS: 50, WIDE: 1000}
FIRST = 2
"""How often everything is created anew."""


class Figures(NamedTuple):
    """What a push of all samples cost.

    Attributes:
        samples: in how many.
        client: seconds of the publisher's CPU.
        wall: seconds.
        requests: that were sent.
        patches: of them.
        sent: bytes, headers included.
    """

    samples: int
    client: float
    wall: float
    requests: int
    patches: int
    sent: int


def main() -> int:
    """Run it; 0 done, 1 could not (one line says why)."""
    parser = argparse.ArgumentParser(prog="python -m bench.gnocchi", description=__doc__)
    parser.add_argument("--resources", type=int, default=200, help="default 200")
    parser.add_argument("--rounds", type=int, default=3, help="pushes after the first, default 3")
    parser.add_argument("--ceilometer", type=Path, metavar="VENV", help="one that has it")
    chosen = parser.parse_args()
    try:
        venv = chosen.ceilometer or ceilometer_venv.ensure()
        with tempfile.TemporaryDirectory(prefix="ceilo_agent-bench-") as name:
            directory = Path(name)
            (directory / "gnocchi").mkdir()
            with gnocchi.running(directory / "gnocchi") as store:
                _prepare(store)
                _compare(store, directory, venv, chosen.resources, chosen.rounds)
    except (ServiceUnavailable, ContenderFailed, ceilometer_venv.NoCeilometer) as error:
        print(f"bench.gnocchi: {error}", file=sys.stderr)
        return 1
    return 0


def _prepare(store: gnocchi.Gnocchi) -> None:
    """Create the archive policies and the type that both use."""
    definitions = Definitions.load(None)
    for policy in definitions.archive_policies.values():
        store.ask("POST", "/archive_policy", dict(policy.body))
    schema = definitions.resource_types["instance"].schema
    store.ask("POST", "/resource_type", {"name": "instance", "attributes": schema})


def _compare(
    store: gnocchi.Gnocchi, directory: Path, venv: Path, resources: int, rounds: int
) -> None:
    with faulty.serving(faulty.forward(store.url)) as proxy:
        ours = [sys.executable, "bench.our_push", f"gnocchi://127.0.0.1:{proxy.port}"]
        theirs = [f"{venv}/bin/python", "bench.ceilometer_push", proxy.url, str(directory)]
        commands = {OURS: ours, THEIRS: theirs, WIDE: theirs}
        contenders = {
            name: Contender(command, directory / f"{number}.log")
            for number, (name, command) in enumerate(commands.items())
        }
        try:
            _rounds(store, proxy, contenders, resources, rounds)
        finally:
            for each in contenders.values():
                each.close()


def _rounds(
    store: gnocchi.Gnocchi,
    proxy: faulty.Server,
    contenders: Mapping[str, Contender],
    resources: int,
    rounds: int,
) -> None:
    """Push in turn, in another order each round, and only while Gnocchi has nothing else to do."""
    for title, cycles in (
        # Of three cycles of new resources the first is dear.
        (f"the first push, which creates, median of {FIRST}", [(0, n) for n in range(FIRST)]),
        (f"steady state, median of {rounds}", [(n + 1, 0) for n in range(rounds)]),
    ):
        figures: dict[str, list[Figures]] = {name: [] for name in contenders}
        for number, group in cycles:
            for name in random.sample(list(contenders), len(contenders)):
                store.drain(600)
                words = f"{number} {SIZES[name]} {_owner(name, group)} {resources}"
                figures[name].append(_push(contenders[name], proxy, words))
                print(f"  {name}: {figures[name][-1].wall:.1f} s", flush=True)
        _table(title, figures)
    store.drain(600)
    for name in contenders:
        points = store.points(ids(_owner(name, 0), resources)[:5])
        assert len(points) == 5 * len(METERS), name
        assert all(len(found) == rounds + 1 for found in points.values()), name
    print("\nEach point of five resources of each was read back.")


def _owner(name: str, group: int) -> str:
    """Return whose resources they are, without blanks."""
    return f"{name}-{group}".replace(" ", "")


def _push(contender: Contender, proxy: faulty.Server, words: str) -> Figures:
    proxy.requests.clear()
    cost = contender.cycle(words)
    asked = list(proxy.requests)
    sent = sum(
        len(one.body)
        + len(one.method)
        + len(one.path)
        + 12
        + sum(len(name) + len(value) + 4 for name, value in one.headers.items())
        for one in asked
    )
    patches = sum(one.method == "PATCH" for one in asked)
    refused = [one.status for one in asked if one.status is None or one.status >= 500]
    if refused:
        raise ContenderFailed(f"Gnocchi answered {refused}")
    return Figures(cost.samples, cost.client, cost.wall, len(asked), patches, sent)


def _table(title: str, figures: dict[str, Sequence[Figures]]) -> None:
    print(f"\n{title}\n")
    print(
        f"{'per 1,000 samples':<34}{'CPU':>9}{'requests':>10}{'PATCHes':>9}{'kB':>8}"
        f"{'samples/s':>11}"
    )
    medians = {}
    for name, made in figures.items():
        each = [
            (
                1000 * one.client / one.samples,
                1000 * one.requests / one.samples,
                1000 * one.patches / one.samples,
                one.sent / one.samples,
                one.samples / one.wall,
            )
            for one in made
        ]
        cpu, requests, patches, sent, rate = map(statistics.median, zip(*each, strict=True))
        medians[name] = cpu, requests
        print(
            f"{name:<34}{1000 * cpu:>6.1f} ms{requests:>10.1f}{patches:>9.1f}{sent:>8.1f}"
            f"{rate:>11.0f}"
        )
    for name, (cpu, requests) in medians.items():
        if name != OURS:
            own = medians[OURS]
            print(
                f"ours is 1/{cpu / own[0]:.1f} of the CPU and 1/{requests / own[1]:.1f} of the "
                f"requests of {name}"
            )


if __name__ == "__main__":
    sys.exit(main())
