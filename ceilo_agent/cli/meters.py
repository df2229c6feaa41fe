# SPDX-License-Identifier: Apache-2.0
"""``ceilo-agent meters``: every meter that an agent can poll."""

from __future__ import annotations

import json
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Final

import click

from ceilo_agent import options
from ceilo_agent.cli.arguments import output_option
from ceilo_agent.cli.configuration import own_meters
from ceilo_agent.cli.tables import show
from ceilo_agent.errors import nearest
from ceilo_agent.meters.catalogue import DEFINED, NAMESPACES, Entry, catalogue
from ceilo_agent.meters.elsewhere import elsewhere

HEADER: Final = ("namespace", "name", "unit", "type", "description")
"""The columns of the table."""


def rows(
    namespace: str | None = None, pattern: str = "*", own: Sequence[Entry] = ()
) -> list[dict[str, str]]:
    """Return what there is to say of each meter, in the catalogues' order.

    Args:
        namespace: only the meters of this one; None: of all.
        pattern: only the meters whose name matches this glob.
        own: meters of the operator's definitions, which come last and replace the shipped ones.
    """
    replaced = {entry.name for entry in own}
    shipped = [
        (each, entry)
        for each in NAMESPACES
        for entry in catalogue(each).meters
        if each != DEFINED or entry.name not in replaced
    ]
    return [
        {
            "name": entry.name,
            "unit": entry.unit,
            "type": entry.type.value,
            "namespace": each,
            "description": entry.description,
            "resource_type": entry.kind,
        }
        for each, entry in (*shipped, *((DEFINED, entry) for entry in own))
        if namespace in (None, each) and fnmatchcase(entry.name, pattern)
    ]


@click.command()
@output_option("table", "json", about="How to print them.")
@click.option("--namespace", type=click.Choice(NAMESPACES), help="Only the meters of this one.")
@click.argument("pattern", default="*")
@click.pass_obj
def command(
    config_files: tuple[str, ...], output: str, namespace: str | None, pattern: str
) -> None:
    """List the meters whose name matches PATTERN (a glob, such as 'disk.*'; default: all)."""
    own = own_meters(options.parse(config_files))
    found = rows(namespace, pattern, own)
    if not found:
        known = [row["name"] for row in rows(namespace, own=own)]
        hint = elsewhere(pattern) or nearest(pattern, known)
        raise click.ClickException(f"no meter matches '{pattern}'" + (f" ({hint})" if hint else ""))
    if output == "json":
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        show(HEADER, [[row[column] for column in HEADER] for row in found])
