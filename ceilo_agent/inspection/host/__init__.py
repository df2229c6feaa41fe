# SPDX-License-Identifier: Apache-2.0
"""This host's own meters: the machine, its disks, its file systems, its network interfaces."""
