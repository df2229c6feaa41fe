# SPDX-License-Identifier: Apache-2.0
"""What went in and what came out of the durable log, sample by sample.

A sample is known by its series (meter and resource) and its time.
"""

import json
import re
from collections import Counter
from typing import NamedTuple

from tests.functional import agent

TOLD = re.compile(
    r"publisher (\S+): (\d+) samples offered, (\d+) delivered, (\d+) waiting, (\d+) set aside, "
    r"(\d+) dropped"
)


class Counts(NamedTuple):
    """What the agent says became of a publisher's samples."""

    offered: int
    delivered: int
    waiting: int
    set_aside: int
    dropped: int

    def tell(self, name):
        """Print them, and look whether they add up."""
        print(
            f"{name}: {self.offered} offered = {self.delivered} delivered + {self.waiting} waiting "
            f"+ {self.set_aside} set aside + {self.dropped} dropped"
        )
        assert self.offered == sum(self[1:]), name
        assert min(self) >= 0, name


def told_at_stop(log):
    """Return the counts that an agent told when it last ended, by publisher."""
    found = {}
    for line in log.read_text().splitlines():
        if told := TOLD.search(line):
            found[told[1]] = Counts(*map(int, told.groups()[1:]))
    return found


def standing(config):
    """Return the counts that `spool list` shows, by publisher; they add up at any moment.

    Of several logs they are added.
    """
    rows = json.loads(agent.run("spool", "list", "--output", "json", config=config).stdout)
    found = {}
    for row in rows:
        counts = Counts(*(row[field] for field in Counts._fields))
        assert counts.offered == sum(counts[1:]), row
        before = found.get(row["publisher"], Counts(0, 0, 0, 0, 0))
        found[row["publisher"]] = Counts(*map(sum, zip(before, counts, strict=True)))
    return found


def confirm(exchange):
    """Behave as a store that takes everything; noted as confirmed once the answer is out."""
    request = exchange.read()
    exchange.answer(200, {}, b"")
    request.status = 200


def key(document):
    """Return the series and time of a sample in Ceilometer's JSON."""
    return document["name"], document["resource_id"], document["timestamp"]


def received(server):
    """Return what the other side read, in its order, whatever it answered."""
    return _keys(request for request in server.requests if _is_whole(request))


def accepted(server):
    """Return what the other side said that it has, in its order."""
    return _keys(server.accepted)


def _is_whole(request):
    """Return whether a request was read to its end: a server may have stopped before."""
    return len(request.body) == int(request.headers["Content-Length"])


def _keys(requests):
    return [key(document) for request in requests for document in json.loads(request.body)]


def in_file(path):
    """Return what a file of JSON lines has, in its order."""
    return [key(document) for document in agent.lines(path)]


def assert_in_order(keys):
    """Look whether the times of each series only rise, doubles left out."""
    last = {}
    for meter, resource, time in dict.fromkeys(keys):
        assert last.get((meter, resource), "") < time, (meter, resource, time)
        last[meter, resource] = time


def settle(name, counts, offered, server):
    """Look whether the agent's counts and the other side's own record say the same.

    Args:
        name: of the publisher.
        counts: what the agent says of it.
        offered: keys of all samples that were for it.
        server: what it delivered to.

    Returns:
        The keys that never arrived, in order.
    """
    counts.tell(name)
    assert len(set(offered)) == len(offered) == counts.offered
    got = accepted(server)
    doubles = [each for each, times in Counter(got).items() if times > 1]
    assert not doubles, f"{len(doubles)} samples were confirmed twice: {doubles[:3]}"
    assert len(got) == counts.delivered
    assert set(got) <= set(offered)
    arrived = set(got)
    missing = [each for each in offered if each not in arrived]
    assert len(missing) == counts.waiting + counts.set_aside + counts.dropped
    # Whatever was read and not confirmed came again, unless it is among the missing.
    assert set(received(server)) - arrived <= set(missing)
    assert_in_order(received(server))
    return missing
