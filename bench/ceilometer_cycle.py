# SPDX-License-Identifier: Apache-2.0
"""Ceilometer's cycle, in its own environment: ``python -m bench.ceilometer_cycle PID DIRECTORY``.

The polling agent is the real one, with all compute meters. Its notifications take their real way
through oslo.messaging, up to the in-memory transport `fake`, which serialises them as the driver
for RabbitMQ would; nothing crosses a network. They are counted and dropped outside the timed part.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ceilometer import service
from ceilometer.polling import manager
from oslo_config import cfg
from oslo_messaging._drivers.impl_fake import FakeExchangeManager

from bench.measure import serve

CONF = """
[DEFAULT]
transport_url = fake://
host = bench
[polling]
cfg_file = {directory}/polling.yaml
"""

POLLING = """
sources:
  - name: bench
    interval: 60
    meters: ["*"]
"""


class Ceilometer:
    """A polling agent whose one task is run by hand.

    Args:
        directory: where its configuration is written.
    """

    def __init__(self, directory: Path) -> None:
        path = directory / "ceilometer.conf"
        path.write_text(CONF.format(directory=directory))
        (directory / "polling.yaml").write_text(POLLING)
        conf = cfg.ConfigOpts()
        service.prepare_service(argv=["bench"], config_files=[str(path)], conf=conf)
        self._agent = manager.AgentManager(0, conf, ["compute"])
        self._agent.polling_manager = manager.PollingManager(conf)
        (self._task,) = self._agent.setup_polling_tasks().values()
        self._taken = 0

    def cycle(self, words: list[str]) -> int:
        """Poll; with the word ``count``, only say how many samples were sent since the last one."""
        if words == ["count"]:
            return _take()
        self._agent.interval_task(self._task)
        return 0


def _take() -> int:
    """Empty the transport and return how many samples it held."""
    samples = 0
    for exchange in FakeExchangeManager._exchanges.values():  # noqa: SLF001 - no public way
        for queue in exchange._topic_queues.values():  # noqa: SLF001
            samples += sum(len(message["payload"]["samples"]) for _, message, *_ in queue)
            queue.clear()
    return samples


def main() -> None:
    """Serve until standard input ends."""
    serve(int(sys.argv[1]), lambda: Ceilometer(Path(sys.argv[2])).cycle)


if __name__ == "__main__":
    main()
