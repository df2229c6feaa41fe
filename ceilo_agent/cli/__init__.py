# SPDX-License-Identifier: Apache-2.0
"""The command `ceilo-agent`: one file per subcommand, imported only when it is used."""
