# SPDX-License-Identifier: Apache-2.0
"""Turns Ceilometer's pipeline files into ours, and says what means something else from then on."""
