# SPDX-License-Identifier: Apache-2.0
"""A process that offers and delivers, killed at random moments: what it acknowledged arrives."""

import random
import signal
import subprocess
import sys
import time

import pytest

from tests.unit.delivery.logs import Process

CHILD = """
import sys, threading
from pathlib import Path
from ceilo_agent.delivery import log as log_module, shelf
from ceilo_agent.delivery.log import Limits
from tests.unit.delivery.logs import Process, numbers

shelf.TAIL_SAMPLES, log_module.ROW_SAMPLES = 200, 50
process = Process(Path(sys.argv[1]), ["slow", "fast"])
first = int(sys.argv[2])
say = threading.Lock()

def take(name, most, every):
    queue, turn = process.queue(name), 0
    while True:
        turn += 1
        taken = queue.take(most)
        if taken is None or turn % every:
            continue
        with say:
            print(name, *numbers(taken.samples), flush=True)
        bad = [(s, "bad") for s in taken.samples if s.volume % 100 == 99]
        queue.done(taken, len(taken.samples) - len(bad), bad)

for words in (("slow", 7, 20), ("fast", 90, 1)):
    threading.Thread(target=take, args=words, daemon=True).start()
for batch in range(first, first + 100000):
    process.offer(range(batch * 10, batch * 10 + 10), "slow", "fast")
    with say:
        print("taken", batch, flush=True)
    if not batch % 10:
        process.log.tick()
"""


@pytest.mark.parametrize("kills", [3, pytest.param(50, marks=pytest.mark.long)])
def test_what_was_acknowledged_is_delivered_however_often_it_is_killed(tmp_path, kills):
    chance = random.Random(kills)
    path = tmp_path / "0"
    got = {"slow": [], "fast": []}
    acknowledged = -1
    for _ in range(kills):
        words = [sys.executable, "-c", CHILD, str(path), str(acknowledged + 1)]
        child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        until = acknowledged + chance.randrange(30, 200)
        for line in child.stdout:
            word, *rest = line.split()
            if not line.endswith("\n"):
                break
            if word == "taken":
                acknowledged = int(rest[0])
                if acknowledged == until:
                    # It goes on meanwhile: it is killed wherever it is by then.
                    time.sleep(chance.random() / 50)
                    child.kill()
            else:
                got[word].append([int(number) for number in rest])
        assert child.wait() == -signal.SIGKILL, child.stderr.read()
        child.stderr.close()
    process = Process(path, ["slow", "fast"])
    offered = process.counted("fast")[0]
    assert offered >= 10 * (acknowledged + 1)
    assert offered % 10 == 0
    for name, batches in got.items():
        batches.append(process.drain(name, 500))
        found = list(dict.fromkeys(number for batch in batches for number in batch))
        assert found == sorted(found), "in order, but for what came twice"
        assert set(found) >= set(range(10 * (acknowledged + 1)))
        assert process.counted(name)[0] == offered
        assert process.counted(name)[2] == process.counted(name)[4] == 0
    process.log.close()
