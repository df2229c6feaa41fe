# SPDX-License-Identifier: Apache-2.0
"""Where the agent's log goes: standard error, or a file."""

from __future__ import annotations

import logging
from typing import Any, Final

from ceilo_agent.errors import ConfigError, Fault

FORMAT: Final = "%(asctime)s %(levelname)s %(name)s %(message)s"


def setup(conf: Any, level: int = logging.INFO) -> None:
    """Log at `level`, or at DEBUG when the configuration says so.

    Raises:
        ConfigError: the log file cannot be written.
    """
    handlers: list[logging.Handler] | None = None
    if conf.log_file:
        try:
            # Reopened when logrotate moves it away.
            from logging.handlers import WatchedFileHandler  # noqa: PLC0415

            handlers = [WatchedFileHandler(conf.log_file)]
        except OSError as error:
            fault = Fault(conf.log_file, 0, 0, f"the log cannot be written: {error.strerror}")
            raise ConfigError([fault]) from error
    logging.basicConfig(
        level=logging.DEBUG if conf.debug else level, format=FORMAT, handlers=handlers
    )


def number(worker: int) -> None:
    """Begin each line of this process's log with the worker's number."""
    for handler in logging.getLogger().handlers:
        handler.setFormatter(logging.Formatter(FORMAT.replace("%(name)s", f"[{worker}] %(name)s")))
