# SPDX-License-Identifier: Apache-2.0
"""What exists: one file or folder per discovery."""
