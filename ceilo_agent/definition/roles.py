# SPDX-License-Identifier: Apache-2.0
"""The parts that an agent may take, each of which needs another part of the pipeline file."""

from __future__ import annotations

import enum


class Role(enum.StrEnum):
    """What a pipeline file is read for."""

    LOCAL = "local"
    """One agent polls, transforms and publishes: sources and sinks."""
    POLLING = "polling"
    """Polls for other agents: sources only. Sinks may be there, since the file may be shared."""
    NOTIFICATION = "notification"
    """Transforms and publishes what others polled: sinks, and of the sources name and meters."""
