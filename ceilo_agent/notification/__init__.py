# SPDX-License-Identifier: Apache-2.0
"""The notification agent: from the bus to the pipeline."""
