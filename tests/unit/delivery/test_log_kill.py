# SPDX-License-Identifier: Apache-2.0
"""A process that offers and delivers, killed at random moments: what it acknowledged arrives."""

import contextlib
import random
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from tests.unit.delivery.logs import Process

CHILD = """
import sys, threading
from pathlib import Path
from ceilo_agent.delivery import log as log_module, shelf
from ceilo_agent.delivery.log import Limits, Offer
from tests.unit.delivery.logs import Process, numbers, samples

shelf.TAIL_SAMPLES, log_module.ROW_SAMPLES = 200, 50
process = Process(
    Path(sys.argv[1]), ["slow", "fast"], limits=Limits(max_samples=int(sys.argv[3]))
)
first = int(sys.argv[2])
say = threading.Lock()

class Remembered:
    # What a step remembers: the batches that it was given.

    pending = rides = True
    batch = -1

    def write(self, db, file):
        db.execute("CREATE TABLE IF NOT EXISTS remembered (batch INTEGER PRIMARY KEY)")
        db.execute("INSERT INTO remembered VALUES (?)", (self.batch,))

    def written(self):
        pass

    failed = written

part = Remembered()

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
    part.batch = batch
    process.log.offer([Offer(["slow", "fast"], samples(range(batch * 10, batch * 10 + 10)))], part)
    with say:
        print("taken", batch, flush=True)
    if not batch % 10:
        process.log.tick()
"""


def last_remembered(path):
    """Return the last batch that is in the journal; all before it are there, too."""
    with contextlib.closing(sqlite3.connect(path / "log.db")) as db:
        last, count = db.execute("SELECT max(batch), count(*) FROM remembered").fetchone()
    assert count == last + 1
    return last


@pytest.mark.parametrize("most", [0, 300])
@pytest.mark.parametrize("kills", [3, pytest.param(50, marks=pytest.mark.long)])
def test_what_was_acknowledged_is_delivered_however_often_it_is_killed(tmp_path, kills, most):
    chance = random.Random(kills)
    path = tmp_path / "0"
    got = {"slow": [], "fast": []}
    acknowledged = remembered = -1
    for _ in range(kills):
        words = [sys.executable, "-c", CHILD, str(path), str(remembered + 1), str(most)]
        began = {name: len(batches) for name, batches in got.items()}
        child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        until = remembered + chance.randrange(30, 200)
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
        for name, batches in got.items():
            life = [number for batch in batches[began[name] :] for number in batch]
            assert life == sorted(set(life)), "in order, and nothing twice in one life"
        remembered = last_remembered(path)
        assert remembered >= acknowledged
    process = Process(path, ["slow", "fast"])
    offered = 10 * (remembered + 1)
    for name, batches in got.items():
        batches.append(process.drain(name, 500))
        found = list(dict.fromkeys(number for batch in batches for number in batch))
        assert found == sorted(found), "in order, but for what came twice"
        missing = set(range(offered)) - set(found)
        counted, _, waiting, _, dropped = process.counted(name)
        assert (counted, waiting) == (offered, 0), "what a step was given was offered, and no more"
        # What the other side read and was not noted may have been dropped, too.
        assert len(missing) <= dropped
        assert most or not dropped
    process.log.close()
