# SPDX-License-Identifier: Apache-2.0
"""The real Ceilometer, from the package index in an environment of its own.

with ceilometer.notification(directory, broker.url) as theirs:
    with ceilometer.polling(directory, broker.url):
        ... theirs.samples() ...
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import libvirt

from tests.services import venvs
from tests.services.process import Process

VERSION: Final = "27.0.0"

SCRIPT: Final = Path(__file__).with_name("ceilometer_samples.py")


def programs() -> Path:
    """Return the ``bin`` directory of its environment.

    Raises:
        ServiceUnavailable: it cannot be installed here.
    """
    # libvirt-python is built against the host's libvirt.
    number = libvirt.getVersion()
    binding = f"{number // 1_000_000}.{number // 1_000 % 1_000}.{number % 1_000}"
    packages = (f"ceilometer=={VERSION}", f"libvirt-python=={binding}")
    return venvs.ensure("ceilometer-libvirt", *packages)


class Agent(NamedTuple):
    """One of its agents, which runs.

    Attributes:
        log: what it says.
        path: of the file that its notification agent writes.
    """

    log: Path
    path: Path

    def samples(self) -> list[dict[str, Any]]:
        """Return the whole lines of its file, none if it is not there yet."""
        try:
            text = self.path.read_text("utf-8")
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


@contextlib.contextmanager
def polling(directory: Path, url: str, secret: str = "", interval: int = 2) -> Iterator[Agent]:
    """Run its polling agent with all meters of guests for the length of a block.

    Args:
        directory: for its files.
        url: of the broker.
        secret: that it signs with; without one it does not.
        interval: seconds between two polls.

    Raises:
        ServiceUnavailable: it cannot be installed, or does not start.
    """
    document = {"sources": [{"name": "all", "interval": interval, "meters": ["*"]}]}
    (directory / "polling.yaml").write_text(json.dumps(document))
    config = _configured(directory, url, secret, f"[polling]\ncfg_file = {directory}/polling.yaml")
    command = ["ceilometer-polling", "--polling-namespaces", "compute"]
    # It keeps nothing, and takes ten seconds to end in order.
    with _running(directory, config, command, Process.kill) as made:
        yield made


@contextlib.contextmanager
def notification(directory: Path, url: str, topics: Sequence[str] = ()) -> Iterator[Agent]:
    """Run its notification agent, which writes a file, for the length of a block.

    Args:
        directory: for its files.
        url: of the broker.
        topics: that it reads, without any ``notifications``.

    Raises:
        ServiceUnavailable: it cannot be installed, or does not start.
    """
    document = {
        "sources": [{"name": "all", "meters": ["*"], "sinks": ["file"]}],
        "sinks": [{"name": "file", "publishers": [f"file://{directory}/samples?json"]}],
    }
    (directory / "pipeline.yaml").write_text(json.dumps(document))
    more = (
        f"pipeline_cfg_file = {directory}/pipeline.yaml\n"
        "[notification]\npipelines = meter\nnotification_control_exchanges = ceilometer\n"
        f"[oslo_messaging_notifications]\ntopics = {','.join(topics) or 'notifications'}\n"
    )
    config = _configured(directory, url, "", more)
    with _running(directory, config, ["ceilometer-agent-notification"], Process.stop) as made:
        yield made


def _configured(directory: Path, url: str, secret: str, more: str) -> Path:
    path = directory / "ceilometer.conf"
    path.write_text(
        f"[publisher]\ntelemetry_secret = {secret}\n"
        f"[DEFAULT]\nhost = theirs\ntransport_url = {url}\n{more}"
    )
    return path


@contextlib.contextmanager
def _running(
    directory: Path, config: Path, command: Sequence[str], end: Callable[[Process], None]
) -> Iterator[Agent]:
    program, *arguments = command
    made = Agent(directory / f"{program}.log", directory / "samples")
    process = Process(
        [str(programs() / program), "--config-file", str(config), *arguments], made.log
    )
    try:
        yield made
    finally:
        end(process)


class Code:
    """Ceilometer's own code, asked for what it makes of payloads."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [str(programs() / "python"), "-P", str(SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def read(self, payload: Any, secret: str) -> dict[str, Any]:
        """Return its `samples`, and of each document the `signatures` and whether `verified`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"payload": payload, "secret": secret}) + "\n")
        self._process.stdin.flush()
        found: dict[str, Any] = json.loads(self._process.stdout.readline())
        return found

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)
