# SPDX-License-Identifier: Apache-2.0
"""How the conformance suite tries `graphite`: what stands for carbon, and what it was sent."""

from __future__ import annotations

import re
import socketserver
import threading
from collections.abc import Sequence
from typing import Any

from ceilo_agent.sample import Sample
from tests.unit.publishers.kinds import Document, Kind, Place

SIGNS = re.compile(r"[^A-Za-z0-9_-]")


class Carbon(socketserver.ThreadingTCPServer):
    """Takes lines, and keeps the last value of each path and second, as Graphite does."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Taking)
        self.points: dict[tuple[str, int], float] = {}
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Taking(socketserver.StreamRequestHandler):
    """One connection."""

    def handle(self) -> None:
        for line in self.rfile:
            path, value, moment = line.decode().split()
            self.server.points[path, int(moment)] = float(value)  # type: ignore[attr-defined]


def url(place: Place) -> str:
    """Return what an operator writes."""
    if "carbon" not in place.kept:
        place.kept["carbon"] = Carbon()
    return f"graphite://127.0.0.1:{place.kept['carbon'].server_address[1]}?prefix=tried."


def received(place: Place) -> list[Document]:
    """Return what arrived."""
    return [
        document(*path.removeprefix("tried.").split(".", maxsplit=1), moment, value)
        for (path, moment), value in place.kept["carbon"].points.items()
    ]


def expected(samples: Sequence[Sample]) -> list[Document]:
    """Return what Graphite has of samples: a path, whole seconds, a floating-point number."""
    return [
        document(
            part(sample.resource.id),
            ".".join(map(part, sample.meter.name.split("."))),
            int(sample.time),
            float(sample.volume),
        )
        for sample in samples
    ]


def part(name: str) -> str:
    """Return a name as a part of a path; of a long one what is not cut."""
    return (SIGNS.sub("_", name) or "_")[:200]


def document(resource: str, name: str, moment: int, value: float) -> dict[str, Any]:
    """Return a point by the keys that tell series apart."""
    return {"resource_id": resource[:200], "name": name, "time": moment, "volume": value}


KINDS = {"graphite": Kind(url=url, received=received, expected=expected, disk=False)}
