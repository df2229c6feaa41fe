# SPDX-License-Identifier: Apache-2.0
"""What of HTTP APIs there is to poll: requests, by endpoint, project or static resource."""
