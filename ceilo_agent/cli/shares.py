# SPDX-License-Identifier: Apache-2.0
"""This agent's part of the work of a namespace, as the options have it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ceilo_agent import options
from ceilo_agent.polling.shared import Share


def share_of(conf: Any, namespace: str, changed: Callable[[], None]) -> Share:
    """Return the share of a namespace's work; `changed` is called after each change of it.

    Raises:
        ConfigError: ``[coordination]`` cannot be used.
    """
    from ceilo_agent.coordination import rebalance, share  # noqa: PLC0415 - only who shares

    made: Share = share.Share(
        options.backend_url(conf),
        share.group_of(namespace, conf.polling.partitioning_group_prefix),
        options.host(conf),
        weight=conf.coordination.weight,
        grace=conf.coordination.grace,
        timeout=conf.coordination.heartbeat_timeout,
        changed=changed,
        told=rebalance.record(options.state_path(conf), namespace).put,
    )
    return made
