# SPDX-License-Identifier: Apache-2.0
"""The guests of a hypervisor, through libvirt, read-only."""
