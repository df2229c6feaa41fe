# SPDX-License-Identifier: Apache-2.0
"""The message bus: what sends to it and what takes from it, over oslo.messaging.

Importing this loads neither oslo.messaging nor a driver; a `Sender` or a `Listener` does.
"""

from __future__ import annotations

from ceilo_agent.messaging.listener import Listener, Take
from ceilo_agent.messaging.reasons import masked
from ceilo_agent.messaging.sender import Sender
from ceilo_agent.messaging.transport import read_url

__all__ = ("Listener", "Sender", "Take", "masked", "read_url")
