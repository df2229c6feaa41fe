# SPDX-License-Identifier: Apache-2.0
"""``gnocchi://``: the metric store of OpenStack, over its REST API, version 1."""
