# SPDX-License-Identifier: Apache-2.0
"""Subcommands that are imported when they are asked for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click


class LazyGroup(click.Group):
    """Imports a subcommand's module (its attribute `command`) when it is asked for.

    Args:
        modules: the modules by the names of the subcommands.
    """

    def __init__(self, *args: Any, modules: Mapping[str, str], **others: Any) -> None:
        super().__init__(*args, **others)
        self._modules = modules

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the subcommands' names."""
        return sorted(self._modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import and return one subcommand."""
        if cmd_name not in self._modules:
            return None
        command: click.Command = importlib.import_module(self._modules[cmd_name]).command
        return command
