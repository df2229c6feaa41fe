# SPDX-License-Identifier: Apache-2.0
"""Transformers and a publisher for ceilo-agent."""
