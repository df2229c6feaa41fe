# SPDX-License-Identifier: Apache-2.0
"""Bytes with what they hold, for readers and writers of our format that others make."""
