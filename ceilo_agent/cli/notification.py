# SPDX-License-Identifier: Apache-2.0
"""`ceilo-agent notification`: transforms and publishes what polling agents send over the bus."""

from __future__ import annotations

import click

from ceilo_agent import options
from ceilo_agent.cli import hangup, logs


@click.command("notification")
@click.option(
    "--workers", type=click.IntRange(1, 256), help="Processes; [notification] workers otherwise."
)
@click.option("--pipeline", metavar="FILE", help="The pipeline file.")
@click.pass_obj
def command(config_files: tuple[str, ...], workers: int | None, pipeline: str | None) -> int:
    """Take samples from the message bus through pipeline.yaml until told to stop."""
    hangup.hold()
    conf = options.parse(
        config_files,
        {"notification.workers": workers, "DEFAULT.pipeline_cfg_file": pipeline},
    )
    logs.setup(conf)
    from ceilo_agent.cli.agent import warn  # noqa: PLC0415 - not for `--help`
    from ceilo_agent.cli.configuration import read_notification  # noqa: PLC0415
    from ceilo_agent.cli.consumer import urls  # noqa: PLC0415
    from ceilo_agent.cli.master import Master  # noqa: PLC0415
    from ceilo_agent.messaging.keys import Keys  # noqa: PLC0415

    configuration = read_notification(conf)
    Keys.from_options(configuration.context.options)
    urls(conf)
    warn(configuration)
    return Master(configuration).run()
