# SPDX-License-Identifier: Apache-2.0
"""How samples travel and how they are kept."""
