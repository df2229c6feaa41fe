# SPDX-License-Identifier: Apache-2.0
"""The transformers that ship, one file each."""
