# SPDX-License-Identifier: Apache-2.0
"""What Nova's API knows of this host's instances and their domains' XML does not say."""
