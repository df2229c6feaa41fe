# SPDX-License-Identifier: Apache-2.0
"""``ceilo-agent members``: who shares work, and what each has of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from ceilo_agent import options
from ceilo_agent.cli import logs
from ceilo_agent.cli.arguments import output_option
from ceilo_agent.cli.tables import show
from ceilo_agent.publishers.rendering import printable
from ceilo_agent.sample import isotime

if TYPE_CHECKING:
    from ceilo_agent.coordination.groups import Part
    from ceilo_agent.coordination.rebalance import Rebalance


@click.command("members")
@output_option("table", "json", about="How to print them.")
@click.pass_obj
def command(config_files: tuple[str, ...], output: str) -> None:
    """List the agents that share work, as [coordination] backend_url has them.

    Below it stands, for each namespace that an agent of this host shares, when its share changed
    last and why.
    """
    from ceilo_agent.coordination.groups import groups  # noqa: PLC0415 - not for `--help`

    conf = options.parse(config_files)
    logs.setup(conf)
    found = groups(options.backend_url(conf), conf.coordination.heartbeat_timeout)
    changes = list(_changes(options.state_path(conf)))
    if output == "json":
        click.echo(json.dumps(_document(found, changes), indent=2))
        return
    if not found:
        click.echo("no agent shares work there")
    else:
        show(
            ("namespace", "agent", ">weight", ">share"),
            [
                (printable(group), printable(name), str(part.weight), f"{part.portion:.1%}")
                for group, parts in found.items()
                for name, part in parts.items()
            ],
        )
    for change in changes:
        click.echo(
            f"{printable(change.agent)} ({printable(change.group)}), {isotime(change.time)}: "
            f"{printable(change.reason)}; {change.owned} buckets (+{change.gained} -{change.lost})"
        )


def _changes(state: Path) -> Iterator[Rebalance]:
    """Yield the last change of each share of this host's agents."""
    from ceilo_agent.coordination.rebalance import records  # noqa: PLC0415

    for each in records(state):
        if (change := each.last()) is not None:
            yield change


def _document(found: Mapping[str, Mapping[str, Part]], changes: list[Rebalance]) -> dict[str, Any]:
    return {
        "groups": {
            group: {name: {"weight": p.weight, "share": p.portion} for name, p in parts.items()}
            for group, parts in found.items()
        },
        "changes": msgspec.to_builtins(changes),
    }
