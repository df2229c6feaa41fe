# SPDX-License-Identifier: Apache-2.0
"""The rounds of an agent that runs: a mistake in what they call does not end it."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from ceilo_agent import options
from ceilo_agent.cli.daemon import Daemon
from ceilo_agent.delivery.log import Log

PIPELINE = """\
sources: [{name: s, interval: 3600, meters: [hardware.uptime], sinks: [t]}]
sinks: [{name: t, publishers: ["file://DIRECTORY/out"]}]
"""


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    """One that polls nothing, with a log of its own, and whose rounds follow without a pause."""
    (tmp_path / "pipeline.yaml").write_text(PIPELINE.replace("DIRECTORY", str(tmp_path)))
    config = tmp_path / "agent.conf"
    config.write_text(
        f"[DEFAULT]\nstate_path = {tmp_path}/state\npipeline_cfg_file = {tmp_path}/pipeline.yaml\n"
        "[polling]\nnamespaces = host\n"
    )
    handlers = {n: signal.getsignal(n) for n in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)}
    daemon = Daemon(options.parse([str(config)]))
    monkeypatch.setattr(daemon.agent, "start", lambda: None)
    monkeypatch.setattr(daemon, "_signalled", lambda _: False)
    daemon.open()
    yield daemon
    daemon.pipeline.close(0)
    for number, handler in handlers.items():
        signal.signal(number, handler)


class Rounds:
    """The log's rounds; some of them fail.

    Attributes:
        begun: how many were.
        ended: how many the agent ended as it should.
    """

    def __init__(
        self, daemon: Daemon, monkeypatch: pytest.MonkeyPatch, errors: list[BaseException | None]
    ) -> None:
        self.begun = self.ended = 0
        self._daemon = daemon
        self._errors = errors
        real = Log.tick

        def tick(log: Log) -> None:
            self.begun += 1
            error = self._errors[self.begun - 1]
            if error is not None:
                raise error
            real(log)

        monkeypatch.setattr(Log, "tick", tick)

    def run(self) -> None:
        self._daemon.run(beat=self._beat)

    def _beat(self) -> None:
        self.ended += 1
        if self.ended == len(self._errors):
            self._daemon._on_signal(signal.SIGTERM, None)


def test_a_mistake_in_the_rounds_is_told_once_for_each_kind_and_ends_nothing(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first, other = RuntimeError("the first"), LookupError("the other")
    rounds = Rounds(daemon, monkeypatch, [first, RuntimeError("again"), other, first, None])
    rounds.run()
    assert (rounds.begun, rounds.ended) == (5, 5)
    told = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [record.message for record in told] == 2 * ["the pipeline's rounds failed, they go on"]
    assert [record.exc_info[1] for record in told if record.exc_info] == [first, other]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
def test_what_is_to_end_the_agent_is_not_held_up(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    rounds = Rounds(daemon, monkeypatch, [None, error, None])
    with pytest.raises(type(error)):
        rounds.run()
    assert (rounds.begun, rounds.ended) == (2, 1)
