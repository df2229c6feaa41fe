# SPDX-License-Identifier: Apache-2.0
"""The entry point: finds the subcommand, turns an operator's mistakes into a line and a code."""

from __future__ import annotations

import os
import sys
from typing import Any, Final

import click

from ceilo_agent import __version__
from ceilo_agent.cli.lazy import LazyGroup
from ceilo_agent.errors import CeiloAgentError, ConfigError

WRONG_USE: Final = 2
"""The exit code for wrong use, or for a daemon that refuses its configuration."""

COMMANDS: Final = {
    "config": "ceilo_agent.cli.config",
    "letters": "ceilo_agent.cli.letters",
    "members": "ceilo_agent.cli.members",
    "meters": "ceilo_agent.cli.meters",
    "notification": "ceilo_agent.cli.notification",
    "poll": "ceilo_agent.cli.poll",
    "polling": "ceilo_agent.cli.polling",
    "query": "ceilo_agent.cli.query",
    "spool": "ceilo_agent.cli.spool",
    "up": "ceilo_agent.cli.up",
    "upgrade": "ceilo_agent.cli.upgrade",
}


@click.command(
    cls=LazyGroup,
    modules=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="ceilo-agent")
@click.option(
    "--config-file",
    "config_files",
    multiple=True,
    metavar="FILE",
    help="Configuration file (oslo.config); may be given several times.",
)
@click.pass_context
def main(ctx: click.Context, config_files: tuple[str, ...]) -> None:
    """Sample this machine's guests and the machine itself, transform and store the samples."""
    ctx.obj = config_files


def run() -> None:
    """Run the command line; never shows a traceback for an operator's mistake."""
    try:
        code: Any = main(standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Abort:
        code = 130
    except click.ClickException as error:
        error.show()
        code = WRONG_USE
    except ConfigError as error:
        for fault in error.faults:
            print(fault, file=sys.stderr)
        code = WRONG_USE
    except CeiloAgentError as error:
        print(f"ceilo-agent: {error}", file=sys.stderr)
        code = WRONG_USE
    except BrokenPipeError:
        # The reader of our output went away (`| head`): not a fault. The interpreter flushes once
        # more on its way out; let that go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code if isinstance(code, int) else 0)
