# SPDX-License-Identifier: Apache-2.0
"""What Ceilometer's own code makes of domains; run by the Python of Ceilometer's environment.

Standard input: JSON with `options` (a configuration file's path) and `domains`, of each `uuid`,
`name`, `xml`, `state` and `metadata` (what libvirt gave for each namespace of Nova's, or null).
With `nova` it asks Nova as configured; without, a flavor without an id is one that Nova does not
know. Standard output: JSON of the samples' metadata and owners, by uuid. What libvirt answers is
what it gave before.
"""

import json
import sys
import types

from ceilometer import service
from ceilometer.compute import discovery
from ceilometer.compute.pollsters import util
from ceilometer.compute.virt.libvirt import utils
from oslo_config import cfg

NO_DOMAIN_METADATA = 80  # libvirt/virterror.h


class LibvirtError(Exception):
    def get_error_code(self):
        return NO_DOMAIN_METADATA

    def get_error_domain(self):
        return 0


class Domain:
    def __init__(self, recorded):
        self._recorded = recorded

    def UUIDString(self):  # noqa: N802 - libvirt's name
        return self._recorded["uuid"]

    def name(self):
        return self._recorded["name"]

    def XMLDesc(self):  # noqa: N802 - libvirt's name
        return self._recorded["xml"]

    def state(self):
        return [self._recorded["state"], 0]

    def metadata(self, _kind, namespace):
        found = self._recorded["metadata"][namespace]
        if found is None:
            raise LibvirtError
        return found


def main():
    asked = json.load(sys.stdin)
    conf = cfg.ConfigOpts()
    service.prepare_service(argv=["test"], config_files=[asked["options"]], conf=conf)
    sys.excepthook = sys.__excepthook__  # a traceback shall be seen here, not in its log
    utils.libvirt = types.SimpleNamespace(
        VIR_DOMAIN_METADATA_ELEMENT=2,
        VIR_ERR_NO_DOMAIN_METADATA=NO_DOMAIN_METADATA,
        libvirtError=LibvirtError,
    )
    domains = [Domain(recorded) for recorded in asked["domains"]]
    connection = types.SimpleNamespace(listAllDomains=lambda: domains)
    discovery.InstanceDiscovery.connection = property(lambda _: connection)
    if not asked["nova"]:
        discovery.InstanceDiscovery.get_flavor_id = lambda *_: None
    found = discovery.InstanceDiscovery(conf).discover(None)
    shown = {}
    for instance in found:
        sample = util.make_sample_from_instance(conf, instance, "cpu", "gauge", "", 1)
        shown[instance.id] = {
            "metadata": sample.resource_metadata,
            "project_id": sample.project_id,
            "user_id": sample.user_id,
            "resource_id": sample.resource_id,
        }
    sys.__stdout__.write("\n" + json.dumps(shown) + "\n")


if __name__ == "__main__":
    main()
