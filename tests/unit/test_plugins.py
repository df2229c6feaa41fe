# SPDX-License-Identifier: Apache-2.0
"""Loading plugins by name."""

import os
import subprocess
import sys

import pytest

from ceilo_agent import plugins
from ceilo_agent.errors import PluginError

KINDS = (plugins.DISCOVERY, plugins.INSPECTOR, plugins.TRANSFORMER, plugins.PUBLISHER)


@pytest.mark.parametrize("kind", KINDS)
def test_every_installed_plugin_loads_and_keeps_its_contract(kind):
    contract = {
        plugins.DISCOVERY: plugins.Discovery,
        plugins.INSPECTOR: plugins.Inspector,
        plugins.TRANSFORMER: plugins.Transformer,
        plugins.PUBLISHER: plugins.Publisher,
    }[kind]
    for name in plugins.names(kind):
        assert issubclass(plugins.load(kind, name), contract)


def test_an_inspector_names_a_discovery_that_there_is():
    for name in plugins.names(plugins.INSPECTOR):
        assert plugins.load(plugins.INSPECTOR, name).discovery in plugins.names(plugins.DISCOVERY)


def test_meters_of_different_inspectors_have_different_names():
    context = plugins.Context("h", {"libvirt.call_timeout": 2})
    seen = set()
    for name in plugins.names(plugins.INSPECTOR):
        meters = {meter.name for meter in plugins.load(plugins.INSPECTOR, name)(context).meters()}
        assert meters
        assert not meters & seen
        seen |= meters


def test_a_name_that_is_not_there_is_told_with_the_nearest():
    with pytest.raises(PluginError, match=r"no publisher is named 'locl' \(did you mean 'local'\?"):
        plugins.load(plugins.PUBLISHER, "locl")


def test_a_plugin_that_cannot_be_loaded_is_told_by_name(tmp_path):
    info = tmp_path / "broken-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[ceilo_agent.publisher]\nbroken = nowhere_at_all:P\n")
    program = "from ceilo_agent import plugins; plugins.load(plugins.PUBLISHER, 'broken')"
    # In a process of its own: entry points are looked up once per process.
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.strip().splitlines()[-1] == (
        "ceilo_agent.errors.PluginError: the publisher 'broken' (nowhere_at_all:P) cannot be "
        "loaded: ModuleNotFoundError: No module named 'nowhere_at_all'"
    )
