# SPDX-License-Identifier: Apache-2.0
"""Reads HTTP APIs as pollsters' definitions describe them."""
