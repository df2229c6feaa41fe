# SPDX-License-Identifier: Apache-2.0
"""Who asks Gnocchi: what the URL, its options and a section of the agent's options say together."""

from __future__ import annotations

from urllib.parse import SplitResult, unquote

from keystoneauth1.http_basic import HTTPBasicAuth
from keystoneauth1.plugin import BaseAuthPlugin

from ceilo_agent.errors import ConfigError, Fault
from ceilo_agent.openstack.credentials import Section, keystone_plugin
from ceilo_agent.plugins import Context
from ceilo_agent.publishers.gnocchi.settings import AuthType, GnocchiOptions


class Credentials:
    """What lets the agent in.

    Attributes:
        section: of the agent's options, where they stand.
        kind: how the agent says who it is.
    """

    def __init__(self, url: SplitResult, options: GnocchiOptions, context: Context) -> None:
        values = context.options
        name = options.auth_section or values.get("gnocchi.auth_section") or "service_credentials"
        self.section = Section(name, values)
        self._url = url
        self._user = options.user
        self.kind = options.auth_type or self._usual()

    def check(self) -> None:
        """Look whether the options fit together, without reading any file.

        Raises:
            ConfigError: they do not.
        """
        self._made(read=False)

    def load(self) -> BaseAuthPlugin | None:
        """Return what puts the credentials into requests, files of secrets read anew.

        Raises:
            ConfigError: they do not fit together, or a file cannot be read.
        """
        return self._made(read=True)

    def _usual(self) -> AuthType:
        """Return how to say who asks where the URL's options do not say it."""
        if self._url.username is None and self.section.get("auth_type") == "none":
            return AuthType.NOAUTH
        if self._url.username is None and self.section.get("auth_url"):
            return AuthType.KEYSTONE
        return AuthType.BASIC

    def _made(self, *, read: bool) -> BaseAuthPlugin | None:
        if self.kind is not AuthType.KEYSTONE and not self._url.hostname:
            what = "the URL names no host, and only Keystone could say where Gnocchi is"
            hint = f"write gnocchi://host:8041, or auth_url and the rest in [{self.section.name}]"
            raise ConfigError([Fault("gnocchi://", 0, 0, what, hint)])
        if self.kind is AuthType.KEYSTONE:
            return keystone_plugin(self.section, read=read)
        return self._basic(read=read) if self.kind is AuthType.BASIC else None

    def _basic(self, *, read: bool) -> HTTPBasicAuth:
        url, section = self._url, self.section
        if url.username is not None:
            return HTTPBasicAuth(None, unquote(url.username), unquote(url.password or ""))
        user = self._user or section.get("username") or "admin"
        own = user == section.get("username")
        password = section.secret("password", read=read) if own else None
        return HTTPBasicAuth(None, user, password or "")
