# SPDX-License-Identifier: Apache-2.0
"""Lets messages through that oslo.messaging cannot decode, and those that come a second time.

What it can decode is decoded by msgspec, several times as fast as by Python's own JSON: of a
message of Ceilometer that is most of the work.

Its rabbit driver drops the former, and neither hands on nor acknowledges the latter: they would
stay with the consumer, in the place of others, until the connection ends.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

UNDECODED: Final = "_ceilo_agent_undecoded"
"""The key of a body in what stands for a message that is none of oslo.messaging's."""

_VERSION: Final = "2.0"
"""Of the envelope."""

_UNIQUE_ID: Final = "_unique_id"
"""The key that the driver tells by whether a message came before."""


def let_through() -> None:
    """Have the driver hand on all that comes."""
    from oslo_messaging._drivers import impl_rabbit  # noqa: PLC0415 - see transport.py

    known: type[Any] = impl_rabbit.RabbitMessage
    if known.__module__ == __name__:
        return

    class RabbitMessage(known):  # type: ignore[misc]
        """A message as the driver has it, whatever it holds."""

        __module__ = __name__

        def __init__(self, raw_message: Any) -> None:
            try:
                found = _decoded(raw_message)
                if found is None:
                    super().__init__(raw_message)
                else:
                    dict.__init__(self, found)
                    self._raw_message = raw_message
            except Exception:
                # Its parent is a dict; it has not got further than that.
                self.clear()
                self[UNDECODED] = _text(raw_message.body)
                self._raw_message = raw_message
            self.pop(_UNIQUE_ID, None)

    impl_rabbit.RabbitMessage = RabbitMessage


def _decoded(raw_message: Any) -> dict[str, Any] | None:
    """Return what is in an envelope of oslo.messaging; None: it must look at it itself."""
    if raw_message.content_type != "application/json":
        return None
    try:
        envelope = msgspec.json.decode(raw_message.body)
        if envelope["oslo.version"] != _VERSION:
            return None
        found = msgspec.json.decode(envelope["oslo.message"])
    except (msgspec.DecodeError, LookupError, TypeError, ValueError, RecursionError):
        return None  # Python's JSON takes more: NaN, halves of letters
    return found if isinstance(found, dict) else None


def _text(body: object) -> str:
    """Return a body as text; what is no UTF-8 is escaped."""
    if isinstance(body, (bytes, bytearray, memoryview)):
        return bytes(body).decode("utf-8", "backslashreplace")
    return str(body)
