# SPDX-License-Identifier: Apache-2.0
"""From the end of a sink to the publisher, with every loss counted."""
