# SPDX-License-Identifier: Apache-2.0
"""Ceilometer's sample messages: read, and written for its agents.

The payload is ``{"samples": [...]}`` (event type ``telemetry.polling``), or the list alone (from
its publisher ``notifier://``). `doc/source/ceilometer_messages.rst` has the fields of a sample.
"""

from __future__ import annotations

from ceilo_agent.messaging.ceilometer_reader import GENERIC, Decoded, Refused, decode
from ceilo_agent.messaging.ceilometer_writer import AT_ONCE, SOURCE, encode

__all__ = ["AT_ONCE", "GENERIC", "SOURCE", "Decoded", "Refused", "decode", "encode"]
