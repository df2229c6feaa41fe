# SPDX-License-Identifier: Apache-2.0
"""Every claim of speed as a command that prints a ratio."""
