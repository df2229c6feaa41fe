# SPDX-License-Identifier: Apache-2.0
"""When to read, what was read before, and the samples that follow from both."""
