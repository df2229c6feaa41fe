# SPDX-License-Identifier: Apache-2.0
"""A password or token in an option of a publisher."""

from __future__ import annotations

from ceilo_agent.definition.secret import Secret

__all__ = ["Secret"]
