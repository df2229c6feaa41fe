# SPDX-License-Identifier: Apache-2.0
"""Publishers: where samples go, one file each. `rendering` is the text forms that they share."""
