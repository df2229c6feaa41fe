"""Small real libvirt guests for tests, benchmarks and the demo.

    with fleet(booted=2, bare=10) as guests:
        guests[0].wait_ready()

`GuestsUnavailable` says in one line why a machine cannot run them.
"""

from __future__ import annotations

from tests.guests.errors import GuestsUnavailable
from tests.guests.fleet import PREFIX, Guest, create, existing, fleet, remove_all
from tests.guests.nova import NovaFlavor, NovaImage, NovaInstance

__all__ = [
    "PREFIX",
    "Guest",
    "GuestsUnavailable",
    "NovaFlavor",
    "NovaImage",
    "NovaInstance",
    "create",
    "existing",
    "fleet",
    "remove_all",
]
