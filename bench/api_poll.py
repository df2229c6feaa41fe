# SPDX-License-Identifier: Apache-2.0
"""Many slow HTTP resources, polled by one agent with the default limits.

    python -m bench.api_poll [RESOURCES [SECONDS]]

Each resource answers after a while (20 ms without arguments). A round is what the lane of an agent
does in a slot: discovery, requests, observations, samples with their previous readings. Beside it,
in the same process and against the same server: a bare loop over urllib3 with as many threads as
the default limit of an endpoint, which reads the same bytes and makes nothing of them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from pathlib import Path

import urllib3

from bench.measure import memory
from ceilo_agent.definition.matching import Matcher
from ceilo_agent.discovery.api.definitions import ONLY
from ceilo_agent.plugins import Context
from ceilo_agent.polling.making import Making, Selected

ROUNDS = 3
AT_A_TIME = 64
"""The default of a definition's `concurrency`."""

DEFINITION = """\
- name: device.load
  sample_type: gauge
  unit: load
  discovery: resources
  url_path: state
  value_attribute: load
  metadata_fields: [room, name]
"""


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 0.02
    command = [sys.executable, "-m", "bench.slow_api", str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            run(int(server.stdout.readline()), count, seconds)
        finally:
            server.terminate()
    return 0


def run(port: int, count: int, seconds: float) -> None:
    print(f"{count} resources, {seconds * 1000:g} ms an answer, {AT_A_TIME} requests at a time")
    bare = [bare_loop(port, count) for _ in range(ROUNDS)]
    told("bare urllib3", bare)
    made: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "devices.yaml"
        file.write_text(DEFINITION)
        base = f"http://127.0.0.1:{port}"
        resources = tuple(f"{base}/device/{n}" for n in range(count))
        batches: deque[int] = deque()
        context = Context("bench", {ONLY: (str(file),)})
        source = Selected("bench", 600, Matcher(["*"]), (), resources)
        making = Making(context, lambda batch: batches.append(len(batch.samples)))
        (lane,) = making.plan(["central"], [source]).fresh
        sizes = []
        for _ in range(ROUNDS):
            wall, used = time.perf_counter(), time.process_time()
            lane.poll_all()
            made.append((time.perf_counter() - wall, time.process_time() - used))
            sizes.append(memory(os.getpid())[0])
            samples = batches.pop()
            # What was polled in a slot is not polled in it again: begin another.
            lane._polled.clear()  # noqa: SLF001
            if samples != count:
                raise SystemExit(f"{samples} samples of {count} resources: {lane.missing}")
        lane.close()
    told("central agent", made)
    ratio = min(w for w, _ in made) / min(w for w, _ in bare)
    print(f"time over bare: {ratio:.2f} x")
    print("resident after each round: " + ", ".join(f"{size:.1f} MB" for size in sizes))


def told(who: str, rounds: list[tuple[float, float]]) -> None:
    parts = ", ".join(f"{wall:.2f} s (CPU {used:.2f} s)" for wall, used in rounds)
    print(f"{who}: {parts}")


def bare_loop(port: int, count: int) -> tuple[float, float]:
    """Return the seconds that a loop takes which reads all answers."""
    pool = urllib3.HTTPConnectionPool("127.0.0.1", port, maxsize=AT_A_TIME, retries=False)
    left = deque(f"/device/{n}/state" for n in range(count))

    def work() -> None:
        while True:
            try:
                path = left.popleft()
            except IndexError:
                return
            assert pool.request("GET", path).status == 200

    wall, used = time.perf_counter(), time.process_time()
    threads = [threading.Thread(target=work) for _ in range(AT_A_TIME)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pool.close()
    return time.perf_counter() - wall, time.process_time() - used


if __name__ == "__main__":
    sys.exit(main())
