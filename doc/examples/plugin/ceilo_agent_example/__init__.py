# SPDX-License-Identifier: Apache-2.0
"""A transformer and a publisher for ceilo-agent."""
