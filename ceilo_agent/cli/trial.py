# SPDX-License-Identifier: Apache-2.0
"""`poll --pollster`: one file of definitions against the live API, each step shown."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, TextIO

import click
from msgspec import structs

from ceilo_agent.plugins import Context, Inspector

NOTHING: Final = "nothing that is there gives such samples"
"""What is said where all was read and no sample came of it."""


class Trial:
    """What is tried.

    Args:
        file: of the definitions.
        resources: base URLs to poll.
        namespaces: that were asked for; None: none.
        steps: where the steps are shown; None: standard output.

    Raises:
        click.BadParameter: these do not fit together.
    """

    def __init__(
        self,
        file: str | None,
        resources: Sequence[str],
        namespaces: Sequence[str] | None,
        steps: TextIO | None,
    ) -> None:
        from ceilo_agent.definition.sources import unfit_base  # noqa: PLC0415 - not for `--help`

        if file is None:
            raise click.UsageError("--resource goes with --pollster")
        if namespaces not in (None, ["central"]):
            raise click.BadParameter(
                "--pollster goes with central alone", param_hint="--namespaces"
            )
        for text in resources:
            if reason := unfit_base(text):
                raise click.BadParameter(reason, param_hint="--resource")
        self.file = file
        self.resources = tuple(resources)
        self._steps = steps

    def context(self, context: Context) -> Context:
        """Return a context in which there are no other definitions."""
        from ceilo_agent.discovery.api.definitions import ONLY  # noqa: PLC0415

        return structs.replace(context, options={**context.options, ONLY: (self.file,)})

    def why_nothing(self) -> str:
        """Say why nothing was polled, or nothing came of it."""
        from ceilo_agent.definition.pollsters import load  # noqa: PLC0415 - not for `--help`
        from ceilo_agent.discovery.api.discovery import takes_base  # noqa: PLC0415

        made = load([Path(self.file)])
        if not made:
            return f"{self.file}: no pollster is in it"
        static = [each.name for each in made if each.discovery == "resources"]
        if static and not self.resources:
            return f"{', '.join(static)}: discovery is resources: --resource names one"
        if self.resources and not any(map(takes_base, made)):
            return f"{self.file}: no pollster in it takes the URL of a --resource"
        return NOTHING

    def watch(self, inspector: Inspector) -> None:
        """Show the steps of an inspector."""
        from ceilo_agent.cli.steps import show_step  # noqa: PLC0415

        central: Any = inspector
        central.trace = partial(show_step, file=self._steps)
