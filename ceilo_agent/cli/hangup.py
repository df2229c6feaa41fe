# SPDX-License-Identifier: Apache-2.0
"""SIGHUP while an agent starts: it waits, where it would end a process that knows nothing of it."""

from __future__ import annotations

import signal


def hold() -> None:
    """Have SIGHUP wait until `take`; to be called before the configuration is read."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})


def take() -> None:
    """Let through what waits; its handler is in place."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
