# SPDX-License-Identifier: Apache-2.0
"""`ceilo-agent up`: polls this machine into the embedded store and shows it."""

from __future__ import annotations

import logging
import shlex
import sys
from typing import TYPE_CHECKING, Final

import click

from ceilo_agent import options
from ceilo_agent.cli import logs
from ceilo_agent.cli.arguments import duration
from ceilo_agent.cli.board import HEADER, Board
from ceilo_agent.cli.leave import leave
from ceilo_agent.cli.tables import show
from ceilo_agent.errors import ConfigError, Fault
from ceilo_agent.sample import isotime

if TYPE_CHECKING:
    from ceilo_agent.cli.daemon import Daemon

INTERVAL: Final = 5
"""Seconds: somebody watches."""


@click.command("up")
@click.option(
    "--for",
    "seconds",
    type=duration,
    metavar="DURATION",
    help="Stop after this long, such as 20s or 5m.",
)
@click.option(
    "--interval",
    type=click.IntRange(1, 86400),
    default=INTERVAL,
    show_default=True,
    help="Seconds between two polls.",
)
@click.option("--pipeline", metavar="FILE", help="The pipeline file.")
@click.pass_obj
def command(
    config_files: tuple[str, ...], seconds: float | None, interval: int, pipeline: str | None
) -> int:
    """Poll this machine's guests and the machine, store the samples and show them live.

    Needs no configuration. The exit code is 1 when no sample was stored.
    """
    from ceilo_agent.cli.hypervisor import settle  # noqa: PLC0415 - not for `--help`

    conf = options.parse(
        config_files,
        {"polling.interval": interval, "DEFAULT.pipeline_cfg_file": pipeline},
    )
    if conf.polling.output == "bus":
        what = "[polling] output = bus: nothing would be stored here"
        raise ConfigError([Fault("options", 0, 0, what, "`ceilo-agent polling` sends to the bus")])
    guests = settle(conf)
    terminal = sys.stdout.isatty()
    logs.setup(conf, logging.WARNING if terminal else logging.INFO)
    from ceilo_agent.cli.daemon import Daemon  # noqa: PLC0415 - not for `--help`

    board = Board()
    daemon = Daemon(conf, board.update, hangup_ends=terminal)
    print(f"pipeline: {daemon.path}")
    if daemon.stores:
        print(f"store:    {options.store_path(conf)}")
    print(guests)
    daemon.open()
    ended = False
    try:
        (_draw if terminal else _print)(daemon, board, seconds)
    finally:
        ended = daemon.stop()
    if not terminal and board.rows():
        show(HEADER, board.rows())
    if daemon.stores:
        taken = sum(daemon.pipeline.counters[name].delivered for name in daemon.stores)
        named = [f"--config-file {shlex.quote(name)}" for name in config_files]
        query = " ".join(["ceilo-agent", *named, "query"])
        print(f"{taken} samples stored; look at them with: {query}")
    else:
        taken = daemon.delivered
        print(f"{taken} samples delivered")
    return leave(0 if taken else 1, ended=ended)


def _print(daemon: Daemon, board: Board, seconds: float | None) -> None:
    """Print a line whenever there are new samples."""
    last = 0

    def beat() -> None:
        nonlocal last
        if board.samples > last:
            new, last = board.samples - last, board.samples
            host = board.host()
            print(
                f"{isotime(board.time)}  {_guests(len(board.rows()))}, {new} samples"
                + (f"; host: {host}" if host else ""),
                flush=True,
            )

    daemon.run(seconds, beat)


def _guests(count: int) -> str:
    return "1 guest" if count == 1 else f"{count} guests"


def _draw(daemon: Daemon, board: Board, seconds: float | None) -> None:
    """Keep a table up to date until the end."""
    from rich.live import Live  # noqa: PLC0415 - only on a terminal
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    def drawn() -> Table:
        caption = Text(f"{board.samples} samples; host: {board.host() or '-'}   (Ctrl-C to stop)")
        table = Table(box=None, header_style="bold", caption=caption, caption_justify="left")
        for name in HEADER:
            table.add_column(name.lstrip(">"), justify="right" if name[0] == ">" else "left")
        for row in board.rows(most=max(3, live.console.height - 6)):
            table.add_row(*map(Text, row))
        return table

    with Live(auto_refresh=False) as live:
        # Live has put its own stream in the place of standard error: the log goes above the table.
        streams = [h for h in logging.root.handlers if type(h) is logging.StreamHandler]
        before = [handler.setStream(sys.stderr) for handler in streams]
        daemon.run(seconds, lambda: live.update(drawn(), refresh=True))
    for handler, stream in zip(streams, before, strict=True):
        if stream is not None:
            handler.setStream(stream)
