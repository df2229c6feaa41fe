# SPDX-License-Identifier: Apache-2.0
"""What all that speaks to OpenStack's services shares: who asks, and how Keystone lets it in."""
