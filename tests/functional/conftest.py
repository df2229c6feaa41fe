# SPDX-License-Identifier: Apache-2.0
"""The real things that functional tests run on: a libvirtd and guests, started here."""

import os

import pytest

from tests.guests.errors import GuestsUnavailable
from tests.guests.fleet import fleet


def lacking(reason):
    """Fail where daemons are owed (CI); elsewhere skip, and say what was left out."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must run this: {reason}")
    pytest.skip(f"LEFT OUT: {reason}")


@pytest.fixture(scope="session")
def booted():
    """Two guests that run Linux and whose counters move: the first has two vCPUs."""
    try:
        with fleet(booted=2, prefix="ceilo-test-", iothreads=1) as guests:
            for guest in guests:
                guest.wait_ready()
            yield guests
    except GuestsUnavailable as error:
        lacking(str(error))
