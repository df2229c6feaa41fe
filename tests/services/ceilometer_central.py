# SPDX-License-Identifier: Apache-2.0
"""What Ceilometer's own central pollsters read; run by the Python of Ceilometer's environment.

Arguments: its configuration file, and the file for the answer: JSON of the samples of all its
pollsters of the namespace central, and of what a pollster failed with.
"""

import json
import sys
from pathlib import Path

from ceilometer import cinder_client, service
from ceilometer.polling import manager
from openstack import connection


class _Cinder:
    """What Ceilometer 27 makes its connection to Cinder with.

    As it stands it asks openstacksdk for a section [cinder] of options that nothing registers, and
    then has no volumes: "Service 'block-storage' is disabled because its configuration could not be
    loaded". So the two arguments are left out that bring that about.
    """

    @staticmethod
    def Connection(**arguments):  # noqa: N802 - openstacksdk's name
        for name in ("oslo_conf", "service_types"):
            arguments.pop(name)
        return connection.Connection(**arguments)


def main():
    cinder_client.connection = _Cinder
    conf = service.prepare_service(["ceilometer-polling"], [sys.argv[1]])
    polling = manager.AgentManager(0, conf, namespaces=["central"])
    samples, faults, cache = [], {}, {}
    for extension in polling.extensions:
        pollster = extension.obj
        try:
            resources = polling.discover([pollster.default_discovery], {})
            found = pollster.get_samples(polling, cache, resources) if resources else ()
            samples += [sample.as_dict() for sample in found]
        except Exception as error:
            faults[extension.name] = f"{type(error).__name__}: {error}"
    answer = {"samples": samples, "faults": faults}
    Path(sys.argv[2]).write_text(json.dumps(answer, default=str))


if __name__ == "__main__":
    main()
