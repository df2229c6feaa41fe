# SPDX-License-Identifier: Apache-2.0
"""Who asks OpenStack's services: what a section of the agent's options says, for keystoneauth."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from keystoneauth1 import exceptions, loading
from keystoneauth1.plugin import BaseAuthPlugin

from ceilo_agent.definition.secret import Secret
from ceilo_agent.errors import ConfigError, Fault, Malformed

# What keystoneauth warns of (discovery that failed) the agent says itself, with the reason.
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


def keystone_plugin(section: Section, *, read: bool) -> BaseAuthPlugin:
    """Return the plugin of keystoneauth that a section asks for.

    Args:
        section: with the credentials.
        read: whether to read files of secrets; without it the plugin is of no use but to check.

    Raises:
        ConfigError: the options do not fit together, or a file cannot be read.
    """
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
