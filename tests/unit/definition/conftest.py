# SPDX-License-Identifier: Apache-2.0
"""The probes, for every test of this folder."""

import pytest

from tests.unit.definition import probes


@pytest.fixture(scope="package", autouse=True)
def plugins_of_others(tmp_path_factory):
    with probes.installed(tmp_path_factory.mktemp("probes")):
        yield
