# SPDX-License-Identifier: Apache-2.0
"""A session of keystoneauth with the credentials of a section of the agent's options."""

from __future__ import annotations

from typing import Final

import requests
from keystoneauth1 import exceptions
from keystoneauth1.session import Session

from ceilo_agent import __version__
from ceilo_agent.openstack.credentials import Section, keystone_plugin, short

TIMEOUT: Final = 30.0
"""Seconds without a byte after which a request is given up."""


def session_of(credentials: Section) -> Session:
    """Return a session; nothing is asked yet.

    Raises:
        ConfigError: the credentials cannot be used.
    """
    cert, key = credentials.get("certfile"), credentials.get("keyfile")
    # What the agent does follows from its files alone: no ~/.netrc, no proxies of a shell.
    web = requests.Session()
    web.trust_env = False
    return Session(
        keystone_plugin(credentials, read=True),
        session=web,
        verify=False if credentials.get("insecure") else credentials.get("cafile") or True,
        cert=(cert, key) if cert and key else cert,
        timeout=TIMEOUT,
        user_agent=f"ceilo_agent/{__version__}",
    )


def words(error: exceptions.ClientException) -> str:
    """Return why something could not be asked, for people."""
    if isinstance(error, exceptions.ConnectTimeout):
        return f"no answer within {TIMEOUT:g} s"
    # keystoneauth's words for it are Python's.
    return "nobody answers there" if isinstance(error, exceptions.ConnectFailure) else short(error)
