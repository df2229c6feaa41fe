# SPDX-License-Identifier: Apache-2.0
"""Who of several agents does what."""
