# SPDX-License-Identifier: Apache-2.0
"""The one fault that callers handle."""

from __future__ import annotations


class ServiceUnavailable(Exception):
    """This machine cannot run a service; the message says why in one line."""
