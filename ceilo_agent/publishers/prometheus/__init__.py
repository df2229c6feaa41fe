# SPDX-License-Identifier: Apache-2.0
"""Prometheus: a page to scrape (`page`) and remote write (`remote_write`), under the same names."""
