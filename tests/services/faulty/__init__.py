# SPDX-License-Identifier: Apache-2.0
"""An HTTP server on loopback that does what a script says: answers, or fails in a chosen way.

    with faulty.serving() as server:
        server.script(faulty.status(503), faulty.hang, faulty.ok())
        ...
        assert server.accepted == [...]

The requests to come meet the behaviours of the script, one each; when it is used up they meet
`usual`, which says 200. `forward` makes it a proxy before a real service: faults can then be put
between the service and who asks it. `stop` and `start` make the port refuse connections for a
while.
"""

from __future__ import annotations

from tests.services.faulty.behaviours import (
    closing,
    cut_amid_reply,
    cut_amid_request,
    cut_before_reply,
    cut_request,
    drip,
    forward,
    garbage,
    half,
    hang,
    huge,
    ignore,
    ok,
    reply,
    slow,
    status,
)
from tests.services.faulty.exchange import Behaviour, Exchange, Request
from tests.services.faulty.ports import closed_port, dripping
from tests.services.faulty.server import Server, serving

__all__ = [
    "Behaviour",
    "Exchange",
    "Request",
    "Server",
    "closed_port",
    "closing",
    "cut_amid_reply",
    "cut_amid_request",
    "cut_before_reply",
    "cut_request",
    "drip",
    "dripping",
    "forward",
    "garbage",
    "half",
    "hang",
    "huge",
    "ignore",
    "ok",
    "reply",
    "serving",
    "slow",
    "status",
]
