"""The one fault callers handle."""

from __future__ import annotations


class GuestsUnavailable(Exception):
    """This machine cannot run the guests; the message says why in one line."""
