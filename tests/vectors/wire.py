# SPDX-License-Identifier: Apache-2.0
"""Test vectors of our format on the bus: ``python -m tests.vectors.wire`` writes them anew.

``wire/NAME.bin`` is a frame, ``wire/NAME.json`` says what is in it, or why a reader refuses it.
They are of version 1, and stay as they are: make new ones for a new version, beside them.
"""

from __future__ import annotations

import hmac
import json
import math
from pathlib import Path
from typing import Any, Final

import msgspec
import zstandard

from ceilo_agent.messaging import wire
from ceilo_agent.messaging.frame import HEADER
from ceilo_agent.messaging.keys import Keys
from ceilo_agent.messaging.wire import Envelope
from ceilo_agent.sample import FIRST, UNTRACKED, Meter, Previous, Resource, Sample, SampleType

DIRECTORY: Final = Path(__file__).with_name("wire")

KEYS: Final = Keys(b"the current secret", b"the previous secret")

SENT: Final = 1800000000.25

CPU = Meter("cpu", "ns", SampleType.CUMULATIVE)
MEMORY = Meter("memory.usage", "MB", SampleType.GAUGE)
READ = Meter("disk.device.read.bytes", "B", SampleType.CUMULATIVE)
GUEST = {
    "display_name": "web-1",
    "flavor": {"id": "1", "name": "m1.tiny", "vcpus": 1, "ram": 512, "extra_specs": {}},
    "image": None,
    "status": "active",
    "tags": ["a", "ü"],
}
INSTANCE = Resource("2f2a1c1e-7e52-4f6f-9d2b-9a5c6f1d0c11", "project", "user", "instance", GUEST)
DISK = Resource(
    f"{INSTANCE.id}-vda", "project", "user", "instance_disk", GUEST | {"disk_name": "vda"}
)
HOST = Resource("compute-1", None, None, "host", {})


def guests() -> list[Sample]:
    """Return what is read of a guest, in two cycles."""
    return [
        Sample(meter, resource, SENT - ago, volume, previous, SENT - 3600.0, "hypervisor")
        for meter, resource, ago, volume, previous in (
            (CPU, INSTANCE, 61.5, 7_000_000_000, FIRST),
            (MEMORY, INSTANCE, 61.5, 122.5, FIRST),
            (READ, DISK, 61.5, 4096, FIRST),
            (CPU, INSTANCE, 1.5, 7_900_000_000, Previous(60.0, 7_000_000_000)),
            (MEMORY, INSTANCE, 1.5, 121.25, Previous(60.0, 122.5)),
            (READ, DISK, 1.5, 4096, Previous(60.0, 4096)),
        )
    ]


def volumes() -> list[Sample]:
    """Return volumes at the ends of what is possible, with all that can be known before them."""
    numbers = (0, 1, 2**63 - 1, 2**63, 2**64 - 1, -1, -(2**63), 0.0, 0.1, -1e300, 5e-324)
    pairs = [(volume, Previous(0.5, before)) for volume in numbers for before in numbers]
    known: list[tuple[float, Any]] = [*pairs, (5, UNTRACKED), (1.5, UNTRACKED), (5, FIRST)]
    return [Sample(CPU, HOST, SENT, *each, None, None) for each in known]


def frame(samples: list[Sample], keys: Keys = Keys()) -> bytes:  # noqa: B008
    """Return samples as one frame."""
    (made,) = wire.encode(
        samples, host="compute-1", source=samples[0].source, sent=SENT, queues=10, keys=keys,
        max_bytes=1 << 20,
    )  # fmt: skip
    return made


def changed(
    data: bytes, body: list[Any], *, version: int = 1, flags: int = 0, key: bytes = b""
) -> bytes:
    """Return a frame with the id of another, and a body of any items."""
    number = HEADER.unpack_from(data)[-1]
    head = HEADER.pack(b"ceAg", version, flags | bool(key), SENT, number)
    rest = zstandard.ZstdCompressor(level=3).compress(msgspec.msgpack.encode(body))
    return head + (hmac.digest(key, head + rest, "sha256") if key else b"") + rest


def document(envelope: Envelope) -> dict[str, Any]:
    """Return an envelope as JSON can hold it."""
    return {
        "id": envelope.id.hex(),
        "host": envelope.host,
        "sent": envelope.sent,
        "queues": envelope.queues,
        "source": envelope.source,
        "samples": [
            {
                "meter": [each.meter.name, each.meter.unit, each.meter.type.value],
                "resource": msgspec.to_builtins(each.resource),
                "time": each.time,
                "volume": each.volume,
                "previous": [each.previous.elapsed, each.previous.volume]
                if isinstance(each.previous, Previous)
                else each.previous.value,
                "started": each.started,
            }
            for each in envelope.samples
        ],
    }


def vectors() -> dict[str, tuple[bytes, str, str]]:
    """Return by name a frame, what it is, and the reason to refuse it, empty if there is none."""
    one = [Sample(CPU, HOST, SENT - 1, 5, Previous(60.0, 3), None, "hypervisor")]
    signed = frame(guests(), KEYS)
    small = frame(one)
    items = msgspec.msgpack.decode(zstandard.decompress(small[HEADER.size :]))
    meter = 5
    return {
        "one": (small, "one sample, not signed", ""),
        "guest": (frame(guests()), "two cycles of a guest and its disk", ""),
        "volumes": (frame(volumes()), "numbers of every kind, each before each", ""),
        "signed": (signed, "signed with the current secret", ""),
        "signed-before": (frame(guests(), Keys(KEYS.previous)), "signed with the previous one", ""),
        "next": (
            changed(small, [*items, {"more": [1, None]}, "and more"], version=2, flags=0x0E),
            "the next version: items and flags that may be passed over",
            "",
        ),
        "refused-secret": (frame(one, Keys(b"another")), "signed with another one", "signature"),
        "refused-header": (signed[:6] + b"\1" + signed[7:], "changed after signing", "signature"),
        "refused-version": (changed(small, items, version=3), "two versions later", "version"),
        "refused-flag": (changed(small, items, flags=0x10), "a flag to be known", "version"),
        "refused-cut": (small[:-1], "a byte is missing", "malformed"),
        "refused-index": (
            changed(small, [*items[:meter], [1], *items[meter + 1 :]]),
            "a meter that is not in the table",
            "malformed",
        ),
        "refused-time": (
            changed(small, [*items[:7], [math.nan], *items[8:]]),
            "a time that is no number",
            "malformed",
        ),
        "refused-size": (
            small[: HEADER.size] + bytes.fromhex("28b52ffde0ffffffffffffff3f010000"),
            "it claims 4 EiB",
            "too-large",
        ),
    }


def main() -> None:
    """Write all."""
    for name, (data, what, reason) in vectors().items():
        signed = bool(data[5] & 1)
        keys = KEYS if signed else Keys()
        held = {"refused": reason} if reason else {"envelope": document(wire.decode(data, keys))}
        secrets = [key.decode() for key in keys.accepted]
        text = json.dumps({"what": what, "secrets": secrets, **held}, indent=1, ensure_ascii=False)
        (DIRECTORY / f"{name}.bin").write_bytes(data)
        (DIRECTORY / f"{name}.json").write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
