# SPDX-License-Identifier: Apache-2.0
"""Tells once that a broker is away, and once that it is back.

What oslo.messaging and its libraries log of it, at each of their tries, is left out. Who sends is
told by an error instead.
"""

from __future__ import annotations

import logging
import threading
from typing import Final

from ceilo_agent.definition.secret import without_secrets
from ceilo_agent.messaging.reasons import meaning

LOG = logging.getLogger(__name__)

SENDING: Final = "bus-send"
"""The name of threads that send."""

LISTENING: Final = "bus-listen "
"""Begins the name of threads that connect to listen; the broker's place ends it."""

_SILENT: Final = frozenset((SENDING, "Rabbit-heartbeat"))
"""The latter are the driver's, of connections that send."""

_LOGGERS: Final = (
    "oslo.messaging._drivers.impl_rabbit",
    "oslo.messaging._drivers.pool",
    "oslo_messaging._drivers.amqp",
    "oslo_messaging._drivers.amqpdriver",
    "oslo_messaging._drivers.common",
    "oslo_messaging._drivers.impl_rabbit",
    "oslo_messaging.notify.listener",
    "oslo_messaging.server",
    "oslo_service.backend",
    "amqp",
    "kombu.connection",
)


class _Outages(logging.Filter):
    """Knows which brokers are away."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._away: set[str] = set()

    def began(self, place: str, what: str) -> None:
        with self._lock:
            if place in self._away:
                return
            self._away.add(place)
        LOG.warning("%s: %s; it is tried again until the broker is there", place, what)

    def ended(self, *places: str) -> None:
        with self._lock:
            back = self._away.intersection(places)
            self._away -= back
        for place in sorted(back):
            LOG.info("%s: the broker is there again", place)

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a library's record is logged: for debugging only."""
        if record.levelno < logging.INFO:
            return True
        name = threading.current_thread().name
        known = record.args if isinstance(record.args, dict) else {}
        said = record.getMessage()
        if name in _SILENT:
            return False
        if name.startswith(LISTENING):
            place = name.removeprefix(LISTENING)
        elif "hostname" in known:
            place = f"{known['hostname']}:{known.get('port')}"
        else:
            return False
        if "Reconnected to" in said:
            self.ended(place)
        elif record.levelno >= logging.ERROR:
            self.began(place, meaning(said) or without_secrets(str(known.get("err_str", said))))
        return False


_OUTAGES: Final = _Outages()

began = _OUTAGES.began
ended = _OUTAGES.ended


def tell_instead() -> None:
    """Have the libraries tell through us from now on."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        if _OUTAGES not in logger.filters:
            logger.addFilter(_OUTAGES)
