# SPDX-License-Identifier: Apache-2.0
"""Which guests a person sees who configured nothing."""

from __future__ import annotations

from typing import Any

from ceilo_agent.discovery.libvirt.connection import choose_uri


def settle(conf: Any) -> str:
    """Choose the hypervisor where none is configured, and return what to say of it."""
    uri, why = choose_uri(conf.libvirt.uri)
    conf.set_override("uri", uri, group="libvirt")
    said = f"guests:   {uri} ({why})"
    if uri.startswith("test:"):
        said += (
            "\n          for real guests install libvirt and QEMU; in a source tree"
            " `DEMO_GUESTS=2 make demo` boots two small ones"
        )
    return said
