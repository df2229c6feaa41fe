# SPDX-License-Identifier: Apache-2.0
"""How many calls a client makes over libvirt's protocol, from libvirt's own client log."""

from __future__ import annotations

import re
from pathlib import Path

# A call (type 0) of the hypervisor's protocol (`remote_protocol.x` has the program's number), as
# the client queues it. Keepalive is another program.
CALL = re.compile(rb"RPC_CLIENT_MSG_TX_QUEUE: .* prog=536903814 vers=1 proc=\d+ type=0 ")


class CallLog:
    """Counts the calls of a process that was started with `environment`.

    Args:
        path: of the log that libvirt shall write there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0
        self.environment = {
            "LIBVIRT_LOG_FILTERS": "2:rpc",
            "LIBVIRT_LOG_OUTPUTS": f"2:file:{path}",
        }

    def count(self) -> int:
        """Return the calls since the last count."""
        with self._path.open("rb") as log:
            log.seek(self._read)
            calls = sum(CALL.search(line) is not None for line in log)
            self._read = log.tell()
        return calls
