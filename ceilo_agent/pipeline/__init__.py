# SPDX-License-Identifier: Apache-2.0
"""What happens to samples between the poll or the bus and the publishers."""
