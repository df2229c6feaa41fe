# SPDX-License-Identifier: Apache-2.0
"""``ceilo-agent config schema``: what editors complete and check a pipeline file by."""

from __future__ import annotations

import json

import click

from ceilo_agent.cli.config.roles import role_option
from ceilo_agent.definition.pollsters.schema import schema as pollsters_schema
from ceilo_agent.definition.roles import Role
from ceilo_agent.definition.schema import schema
from ceilo_agent.meters.catalogue import known


@click.command("schema")
@role_option
@click.option("--pollsters", is_flag=True, help="That of files of dynamic pollsters.")
def command(role: str, pollsters: bool) -> None:
    """Print the JSON Schema (draft 2020-12) of pipeline files, installed plugins included."""
    made = pollsters_schema() if pollsters else schema(known(), Role(role), _tell)
    click.echo(json.dumps(made, indent=2, ensure_ascii=False))


def _tell(reason: str) -> None:
    click.echo(f"left out: {reason}", err=True)
