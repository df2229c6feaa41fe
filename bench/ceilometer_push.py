# SPDX-License-Identifier: Apache-2.0
"""Ceilometer's side of `bench.gnocchi`, in its own environment.

``python -m bench.ceilometer_push URL DIRECTORY``: its GnocchiPublisher is called with its own
samples, as its notification agent does. They come meter by meter, as its pollsters send them.
"""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.parse import urlsplit

from ceilometer import service
from ceilometer.publisher import gnocchi
from ceilometer.sample import Sample
from oslo_config import cfg

from bench.push_load import METERS, Load, Make, Push, metadata, serve

CONF = """
[DEFAULT]
transport_url = fake://
[service_credentials]
auth_type = gnocchi-basic
user = admin
endpoint = {url}
"""


def begin() -> tuple[Make, Push]:
    url, directory = sys.argv[1:]
    path = Path(directory) / "ceilometer.conf"
    path.write_text(CONF.format(url=url))
    conf = cfg.ConfigOpts()
    service.prepare_service(argv=["bench"], config_files=[str(path)], conf=conf)
    publisher = gnocchi.GnocchiPublisher(
        conf, urlsplit("gnocchi://?enable_filter_project=false&timeout=60")
    )

    def make(load: Load) -> list[Sample]:
        return [
            Sample(
                name=meter,
                type=kind,
                unit=unit,
                volume=load.volume(r, m),
                user_id="user",
                project_id="project",
                resource_id=name,
                timestamp=load.timestamp,
                resource_metadata=metadata(r),
            )
            for m, (meter, kind, unit) in enumerate(METERS)
            for r, name in enumerate(load.resources)
        ]

    return make, publisher.publish_samples


if __name__ == "__main__":
    serve(begin)
