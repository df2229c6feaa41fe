# SPDX-License-Identifier: Apache-2.0
"""What our format on the bus costs: ``python -m bench.wire [ROUNDS]``.

The samples of one cycle of a host: 100 guests with 68 samples each, metadata like those that Nova
gives, random counters that moved since the cycle before, signed. Prints samples per second of one
core, out and in, and the bytes of a sample on the wire: base64 and oslo.messaging's envelope are
part of that. Beside it the same samples as Ceilometer's own messages, written and read by our code.
"""

from __future__ import annotations

import base64
import gc
import json
import os
import random
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from bench.sample_build import CONTEXT, REPLY, XML, advance
from ceilo_agent.discovery.libvirt.guest import Guest, describe
from ceilo_agent.inspection.libvirt.inspector import LibvirtInspector
from ceilo_agent.inspection.libvirt.rows import Row
from ceilo_agent.messaging import ceilometer, topics, wire
from ceilo_agent.messaging.keys import Keys
from ceilo_agent.polling.tracker import Tracker
from ceilo_agent.sample import Sample

GUESTS = 100
KEYS = Keys(b"a secret of the bench")
LIMIT = 1 << 20
RISING = ("time", "bytes", "reqs", "times", "pkts")


def cycle() -> list[Sample]:
    """Return what is sampled of a host in its third cycle."""
    chance = random.Random(1)
    random.seed(2)
    inspector = LibvirtInspector(CONTEXT)
    wanted = frozenset(meter.name for meter in inspector.meters())
    tracker = Tracker("bench", wanted.__contains__, 60)
    owners = [(identity(chance).hex, identity(chance).hex) for _ in range(10)]
    images = [str(identity(chance)) for _ in range(5)]
    guests = []
    for number in range(GUESTS):
        reply = dict(REPLY)
        for field, value in reply.items():
            if type(value) is int and field.endswith(RISING):
                reply[field] = value + chance.randrange(1 << 40)
        project, user = chance.choice(owners)
        port = str(identity(chance))[:11]
        reply["net.0.name"] = f"tap{port}"
        text = XML
        for old, new in (
            ("lead-00000001", f"instance-{number + 4096:08x}"),
            ("server-1", f"web-{number}"),
            ("03:04:05", f"{chance.randrange(24):02}:{chance.randrange(60):02}:05"),
            ("38bd8e984a3e435a87e950a441ee55aa", project),
            ("702a1c7f8fe94a6f9d1b0c9d3f4e5a6b", user),
            ("7a5b6f7e-6f0d-4b8b-9d1c-0e4f3b6f2a11", chance.choice(images)),
            ("51b170f1-6a", port),
            ("fa:16:3e:cd:9e:66", chance.randbytes(6).hex(":")),
            ("m1.tiny", chance.choice(["m1.tiny", "m1.small", "c5.large"])),
        ):
            text = text.replace(old, new)
        guests.append((Guest(str(identity(chance)), None, number + 1, describe(text), None), reply))
    found: list[Sample] = []
    for turn in range(3):
        advance(guests)
        moment = 100.0 + 60 * turn
        rows = [Row(guest, reply, moment + chance.random()) for guest, reply in guests]
        found = tracker.samples(inspector.observe(rows, wanted))
    return found


def identity(chance: random.Random) -> uuid.UUID:
    """Return a random UUID that each run makes again."""
    return uuid.UUID(int=chance.getrandbits(128), version=4)


def encode(samples: Sequence[Sample]) -> list[bytes]:
    return wire.encode(
        samples, host="bench", source="hypervisor", sent=time.time(), queues=10, keys=KEYS,
        max_bytes=LIMIT,
    )  # fmt: skip


def on_the_wire(event_type: str, payload: Any) -> int:
    """Return the bytes of a notification's body, as oslo.messaging's envelope 2.0 makes it."""
    message = {
        "message_id": str(uuid.uuid4()),
        "publisher_id": "ceilo_agent.bench",
        "event_type": event_type,
        "priority": "SAMPLE",
        "payload": payload,
        "timestamp": "2026-01-31 12:00:00.000000",
        "_unique_id": uuid.uuid4().hex,
    }
    return len(json.dumps({"oslo.version": "2.0", "oslo.message": json.dumps(message)}))


def per_second(work: Callable[[], object], samples: int, rounds: int) -> float:
    """Return samples in a second of CPU time, of the fastest round: others only slow it down."""
    work()
    spent = []
    for _ in range(rounds):
        gc.collect()
        began = time.process_time()
        work()
        spent.append(time.process_time() - began)
    return samples / min(spent)


def main() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    samples = cycle()
    count = len(samples)
    frames = encode(samples)
    resources = {id(sample.resource): sample.resource for sample in samples}.values()
    metadata = [len(json.dumps(resource.metadata)) for resource in resources]
    print(
        f"{GUESTS} guests, {count:,} samples, {len(resources)} resources with "
        f"{min(metadata)} to {max(metadata)} bytes of metadata, messages: {len(frames)}"
    )
    size = sum(on_the_wire(topics.EVENT_TYPE, base64.b64encode(each).decode()) for each in frames)
    out = per_second(lambda: encode(samples), count, rounds)
    back = per_second(lambda: [wire.decode(each, KEYS) for each in frames], count, rounds)
    few = samples[: count // 10]
    payloads = ceilometer.encode(few, keys=KEYS, max_bytes=LIMIT)
    larger = sum(on_the_wire(topics.CEILOMETER_EVENT_TYPE, each) for each in payloads)
    slow = min(rounds, 5)
    theirs_out = per_second(
        lambda: ceilometer.encode(few, keys=KEYS, max_bytes=LIMIT), len(few), slow
    )
    theirs_back = per_second(
        lambda: [ceilometer.decode(each, KEYS) for each in payloads], len(few), slow
    )
    ours, theirs = size / count, larger / len(few)
    print("                       encoded/s     decoded/s  bytes a sample on the wire")
    print(f"our format          {out:12,.0f}  {back:12,.0f}  {ours:12,.1f}")
    print(f"Ceilometer's        {theirs_out:12,.0f}  {theirs_back:12,.0f}  {theirs:12,.1f}")
    print(
        f"ratio               {out / theirs_out:12,.1f}  {back / theirs_back:12,.1f}"
        f"  {theirs / ours:12,.1f}"
    )
    print(f"before base64 and the envelope: {sum(map(len, frames)) / count:.2f} bytes a sample")


if __name__ == "__main__":
    main()
