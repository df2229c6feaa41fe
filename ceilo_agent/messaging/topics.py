# SPDX-License-Identifier: Apache-2.0
"""Which topic samples travel on.

Topics of our own format are ``ceilo_agent.samples.0`` to ``ceilo_agent.samples.<queues - 1>``. What
belongs together, since its order must hold, has one key, and the key has one topic on every machine
and for ever: the CRC-32 of its UTF-8, modulo the number of queues.
"""

from __future__ import annotations

import zlib
from typing import Final

PREFIX: Final = "ceilo_agent.samples."

EXCHANGE: Final = "ceilo_agent"
"""The exchange of our own topics."""

EVENT_TYPE: Final = "ceilo_agent.samples"
"""Of the notifications that hold our own batches."""

CEILOMETER_TOPIC: Final = "notifications"
CEILOMETER_EXCHANGE: Final = "ceilometer"
CEILOMETER_EVENT_TYPE: Final = "telemetry.polling"


def topic(queue: int) -> str:
    """Return the name of a topic by its number."""
    return f"{PREFIX}{queue}"


def queue_of(key: str, queues: int) -> int:
    """Return the number of the topic of a key.

    Args:
        key: the name of the host that polled, or the id of a resource that belongs to no host.
        queues: how many topics there are.
    """
    return zlib.crc32(key.encode("utf-8", "surrogatepass")) % queues
