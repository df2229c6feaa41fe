# SPDX-License-Identifier: Apache-2.0
"""What the meters read now: one folder per inspector."""
