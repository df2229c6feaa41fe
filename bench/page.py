# SPDX-License-Identifier: Apache-2.0
"""What a scrape of the page for Prometheus costs: ``python -m bench.page [GUESTS] [ROUNDS]``.

49 meters a guest, with labels as real guests have them. Beside it stands the same number of series
in gauges of prometheus_client, the way most exporters are made, with the labels of our series and
without metadata. Both are scraped over loopback, in turns. The CPU is that of the whole process,
the reader's part in it.
"""

from __future__ import annotations

import http.client
import statistics
import sys
import time
import uuid
from collections.abc import Callable
from typing import Final
from urllib.parse import SplitResult

from prometheus_client import CollectorRegistry, Gauge, start_http_server

from ceilo_agent.meters import Entry, catalogue
from ceilo_agent.plugins import Context
from ceilo_agent.publishers.prometheus.labels import describe
from ceilo_agent.publishers.prometheus.naming import Names
from ceilo_agent.publishers.prometheus.page import PageOptions, Prometheus
from ceilo_agent.sample import Meter, Resource, Sample

METERS: Final = 49
START: Final = 1_700_000_000.0

FORMS: Final = {
    "text": {},
    "OpenMetrics": {"Accept": "application/openmetrics-text; version=1.0.0"},
    "OpenMetrics, gzip": {
        "Accept": "application/openmetrics-text; version=1.0.0",
        "Accept-Encoding": "gzip",
    },
}


def entries() -> list[Entry]:
    """Return 49 meters: those of a disk and an interface, and of the guest as many as remain."""
    found = catalogue("compute").meters
    parts = ("instance_disk", "instance_network_interface")
    devices = [entry for entry in found if entry.kind in parts]
    whole = [entry for entry in found if entry.kind == "instance"]
    return [*devices, *whole[: METERS - len(devices)]]


def samples(guests: int, turn: int) -> list[Sample]:
    """Return the samples of one cycle."""
    meters = [(entry.kind, Meter(entry.name, entry.unit, entry.type)) for entry in entries()]
    found = []
    for number in range(guests):
        made = resources(str(uuid.UUID(int=number)), number)
        found += [
            Sample(meter, made[kind], START + 60 * turn, 123_456_789_012 + 977 * number + turn)
            for kind, meter in meters
        ]
    return found


def resources(owner: str, number: int) -> dict[str, Resource]:
    """Return a guest, its disk and its interface, by kind."""
    metadata = {
        "display_name": f"web-{number}",
        "instance_id": owner,
        "instance_host": "kvm-1",
        "flavor": {"name": "m1.small"},
        "image": {"id": str(uuid.UUID(int=7))},
    }
    project, user = str(uuid.UUID(int=number % 9)), str(uuid.UUID(int=number % 5))
    ids = {
        "instance": owner,
        "instance_disk": f"{owner}-vda",
        "instance_network_interface": f"instance-{number:08x}-{owner}-tap0",
    }
    return {kind: Resource(id_, project, user, kind, metadata) for kind, id_ in ids.items()}


def gauges(cycle: list[Sample]) -> CollectorRegistry:
    """Return the same series in gauges of prometheus_client."""
    registry = CollectorRegistry()
    names = Names(adds=True)
    made: dict[str, Gauge] = {}
    for sample in cycle:
        family = names.family(sample.meter)
        labels = dict(describe(sample.resource).labels)
        gauge = made.get(family.base)
        if gauge is None:
            gauge = Gauge(family.base, family.help, sorted(labels), registry=registry)
            made[family.base] = gauge
        gauge.labels(**labels).set(family.value(sample.volume))
    return registry


def scrape(port: int, headers: dict[str, str]) -> int:
    """Fetch a page and return its bytes."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/metrics", headers=headers)
    size = len(connection.getresponse().read())
    connection.close()
    return size


def timed(work: Callable[[], int]) -> tuple[float, float, int]:
    """Return milliseconds of time and of CPU, and what the work returned."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = work()
    return (time.perf_counter() - wall) * 1e3, (time.process_time() - cpu) * 1e3, found


def main() -> int:
    """Print a line for each form of the page."""
    guests = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 20
    url = SplitResult("prometheus", "127.0.0.1:0", "", "", "")
    page = Prometheus(url, PageOptions(), Context("kvm-1", {}))
    page.open()
    other, _ = start_http_server(0, "127.0.0.1", gauges(samples(guests, 0)))
    ports = {"ours": page.address[1], "gauges": other.server_address[1]}
    pushes = []
    for turn in range(rounds):
        cycle = samples(guests, turn)
        pushes.append(timed(lambda cycle=cycle: page.push(cycle) or 0)[:2])
    wall, cpu = (statistics.median(each) for each in zip(*pushes[1:], strict=True))
    print(f"{guests} guests x {METERS} meters, {rounds} rounds, medians")
    print(f"a push of {guests * METERS:,} samples: {wall:.1f} ms, {cpu:.1f} ms of CPU")
    print(f"{'':20}{'page':>10}{'scrape':>12}{'CPU':>12}{'gauges: scrape':>18}{'CPU':>12}")
    for form, headers in FORMS.items():
        took: dict[str, list[tuple[float, float, int]]] = {name: [] for name in ports}
        for _ in range(rounds):
            for name, port in ports.items():
                took[name].append(timed(lambda port=port, headers=headers: scrape(port, headers)))
        ours, theirs = (
            [statistics.median(one[column] for one in took[name]) for column in range(3)]
            for name in ports
        )
        print(
            f"{form:20}{ours[2] / 1e3:>7.0f} KB{ours[0]:>9.1f} ms{ours[1]:>9.1f} ms"
            f"{theirs[0]:>15.1f} ms{theirs[1]:>9.1f} ms"
        )
    page.close()
    other.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
