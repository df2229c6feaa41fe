# SPDX-License-Identifier: Apache-2.0
"""Telemetry collector for virtual machines and clouds."""

__version__ = "0.1.0"
