# SPDX-License-Identifier: Apache-2.0
"""The discovery of this machine."""

from __future__ import annotations

from ceilo_agent.discovery.local_node import LocalNode
from ceilo_agent.plugins import DISCOVERY, Context, load


def test_it_finds_this_host_under_its_name() -> None:
    listing = LocalNode(Context("node-7", {})).discover(0)
    assert [target.id for target in listing.targets] == ["node-7"]
    assert listing.complete


def test_its_targets_belong_to_one_host() -> None:
    assert not LocalNode.shared


def test_it_is_installed() -> None:
    assert load(DISCOVERY, "local_node") is LocalNode
