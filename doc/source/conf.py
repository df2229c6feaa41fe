# SPDX-License-Identifier: Apache-2.0
"""How Sphinx builds these pages: ``make docs``."""

from ceilo_agent import __version__

project = "ceilo-agent"
copyright = "the authors of ceilo-agent, Apache-2.0"
version = release = __version__
html_theme = "alabaster"
html_theme_options = {"page_width": "1100px", "sidebar_width": "240px"}
html_show_sourcelink = False
nitpicky = True
