# SPDX-License-Identifier: Apache-2.0
"""The way out when a call of libvirt, or of a back end, has not returned."""

from __future__ import annotations

import logging
import os
import sys


def leave(code: int, *, ended: bool) -> int:
    """Return the exit code; where a call is stuck, exit without waiting for it."""
    if not ended:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code
