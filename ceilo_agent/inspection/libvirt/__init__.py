# SPDX-License-Identifier: Apache-2.0
"""The meters of guests, from libvirt's bulk reply."""
