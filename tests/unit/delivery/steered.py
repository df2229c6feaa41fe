# SPDX-License-Identifier: Apache-2.0
"""An outlet and a publisher whose other side the test steers."""

import threading
import time
from urllib.parse import urlsplit

from ceilo_agent.delivery.memory import MemoryQueue
from ceilo_agent.delivery.outlet import Outlet
from ceilo_agent.delivery.queues import Taken
from ceilo_agent.plugins import Context, Publisher


class Store(Publisher):
    """A publisher whose other side the test steers."""

    batch_size = 10

    def __init__(self):
        super().__init__(urlsplit("store://"), None, Context("host", {}))
        self.taken = []
        self.sizes = []
        self.faults = []
        self.bad = {}
        self.hold = threading.Event()
        self.hold.set()
        self.closed = False

    def push(self, samples):
        self.hold.wait(20)
        self.sizes.append(len(samples))
        if self.faults:
            raise self.faults.pop(0)
        for each in samples:
            if each in self.bad:
                raise self.bad[each]
        self.taken.extend(samples)

    def close(self):
        self.closed = True


class Kept(MemoryQueue):
    """Keeps what is refused, as the log does."""

    def __init__(self, again=()):
        super().__init__("store")
        self.aside = {}
        self.again = frozenset(again)

    def take(self, most):
        found = super().take(most)
        if found is None:
            return None
        return Taken(found.samples, found.place, bool(self.again & {*found.samples}))

    def done(self, taken, delivered, refused):
        super().done(taken, delivered, refused)
        self.aside |= dict(refused)
        self.counters.dropped -= len(refused)
        self.counters.set_aside += len(refused)


def opened(store, queue=None):
    made = Outlet("store", store, queue or MemoryQueue("store"))
    made.open()
    made.start()
    return made


def adds_up(made):
    c = made.counters
    return c.offered == c.delivered + made.waiting + c.set_aside + c.dropped


def close(made, seconds=5.0):
    made.close(time.monotonic() + seconds)


def wait_until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)
