# SPDX-License-Identifier: Apache-2.0
"""`ceilo-agent polling`: the daemon."""

from __future__ import annotations

import click

from ceilo_agent import options
from ceilo_agent.cli import hangup, logs
from ceilo_agent.cli.arguments import words
from ceilo_agent.cli.leave import leave


@click.command("polling")
@click.option(
    "--namespaces",
    type=words,
    metavar="NAME,...",
    help="What to poll: compute, host, central.",
)
@click.option("--pipeline", metavar="FILE", help="The pipeline file.")
@click.option("--interval", type=click.IntRange(1, 86400), help="Poll every source this often.")
@click.pass_obj
def command(
    config_files: tuple[str, ...],
    namespaces: list[str] | None,
    pipeline: str | None,
    interval: int | None,
) -> int:
    """Poll through pipeline.yaml until told to stop.

    With `[polling] output = bus` what is polled goes to the message broker of transport_url, for
    notification agents to transform and publish.
    """
    hangup.hold()
    conf = options.parse(
        config_files,
        {
            "polling.namespaces": namespaces,
            "polling.interval": interval,
            "DEFAULT.pipeline_cfg_file": pipeline,
        },
    )
    logs.setup(conf)
    from ceilo_agent.cli.daemon import Daemon  # noqa: PLC0415 - not for `--help`

    daemon = Daemon(conf)
    daemon.open()
    ended = False
    try:
        daemon.run()
    finally:
        ended = daemon.stop()
    return leave(0, ended=ended)
