# SPDX-License-Identifier: Apache-2.0
"""The meter catalogue: data in YAML beside this file, one file per namespace."""

from ceilo_agent.meters.catalogue import Catalogue, Entry, LeftOut, catalogue, load

__all__ = ["Catalogue", "Entry", "LeftOut", "catalogue", "load"]
