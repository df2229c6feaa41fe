# SPDX-License-Identifier: Apache-2.0
"""The services that tests run on: started here on loopback, ended with the test."""
