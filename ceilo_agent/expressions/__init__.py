# SPDX-License-Identifier: Apache-2.0
"""The expressions that operators write: a part of Python, read once, bounded in time."""
