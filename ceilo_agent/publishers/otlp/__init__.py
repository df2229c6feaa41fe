# SPDX-License-Identifier: Apache-2.0
"""Samples as metrics of OpenTelemetry, over its own protocol (OTLP)."""
