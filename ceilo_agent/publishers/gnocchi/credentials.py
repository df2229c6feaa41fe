# SPDX-License-Identifier: Apache-2.0
"""Who asks Gnocchi: what the URL, its options and a section of the agent's options say together."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import SplitResult, unquote

from keystoneauth1 import exceptions, loading
from keystoneauth1.http_basic import HTTPBasicAuth
from keystoneauth1.plugin import BaseAuthPlugin

from ceilo_agent.errors import ConfigError, Fault, Malformed
from ceilo_agent.plugins import Context
from ceilo_agent.publishers.gnocchi.settings import AuthType, GnocchiOptions
from ceilo_agent.publishers.secret import Secret

# What keystoneauth warns of (discovery that failed) the publisher says itself, with the reason.
for _name in ("keystoneauth.identity", "keystoneauth.discover"):
    logging.getLogger(_name).setLevel(logging.ERROR)

_UNREAD: Final = "unread"
"""Stands for a secret where only the options are looked at."""


class Section(NamedTuple):
    """The credentials of one section of the agent's options."""

    name: str
    values: Mapping[str, Any]

    def get(self, name: str) -> Any:
        """Return what an option says, None without it."""
        return self.values.get(f"{self.name}.{name}")

    def fault(self, name: str, what: str, hint: str = "") -> ConfigError:
        """Return what is wrong with an option."""
        return ConfigError([Fault(f"[{self.name}] {name}", 0, 0, what, hint)])

    def secret(self, name: str, *, read: bool) -> str | None:
        """Return a secret, from its file if it stands in one; with `read` False never its text.

        Raises:
            ConfigError: it cannot be had.
        """
        text = self.get(name)
        if text is None:
            return None
        try:
            secret = Secret.parse(text)
            return secret.read() if read else _UNREAD
        except Malformed as error:
            raise self.fault(name, error.what, error.hint) from error
        except OSError as error:
            raise self.fault(name, f"{error.filename} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise self.fault(name, "its file is no UTF-8") from error


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
            return _keystone(self.section, read=read)
        return self._basic(read=read) if self.kind is AuthType.BASIC else None

    def _basic(self, *, read: bool) -> HTTPBasicAuth:
        url, section = self._url, self.section
        if url.username is not None:
            return HTTPBasicAuth(None, unquote(url.username), unquote(url.password or ""))
        user = self._user or section.get("username") or "admin"
        own = user == section.get("username")
        password = section.secret("password", read=read) if own else None
        return HTTPBasicAuth(None, user, password or "")


def _keystone(section: Section, *, read: bool) -> BaseAuthPlugin:
    """Return the plugin of keystoneauth that a section asks for."""
    name = section.get("auth_type") or "password"
    try:
        loader: Any = loading.get_plugin_loader(name)
        given: dict[str, Any] = {}
        for option in loader.get_options():
            dest = option.dest
            value = section.secret(dest, read=read) if option.secret else section.get(dest)
            if value is not None:
                given[dest] = value
        plugin: BaseAuthPlugin = loader.load_from_options(**given)
    except exceptions.NoMatchingPlugin as error:
        known = sorted(loading.get_available_plugin_names())
        hint = f"there are {', '.join(known)}"
        raise section.fault("auth_type", f"keystoneauth has no '{name}'", hint) from error
    except exceptions.MissingRequiredOptions as error:
        lacking = ", ".join(option.dest for option in error.options)
        raise section.fault(lacking, f"auth_type {name} needs it") from error
    except exceptions.ClientException as error:
        raise section.fault("auth_type", f"{name}: {short(error)}") from error
    return plugin


def short(error: exceptions.ClientException) -> str:
    """Return keystoneauth's words without the ids that it adds."""
    return " ".join(str(error.message).split("(HTTP")[0].split())[:300]
