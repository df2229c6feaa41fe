# SPDX-License-Identifier: Apache-2.0
"""pipeline.yaml as typed objects, or every fault of it with its line and column."""
