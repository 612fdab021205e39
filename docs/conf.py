"""The settings of Sphinx, which builds the documentation site: `make docs`."""

from job import __version__

project = "fruits"
author = "the fruits developers"
copyright = "2026, the fruits developers"  # noqa: A001 - the name that Sphinx reads
release = version = __version__

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
nitpicky = True

# Headings down to the third level are anchors, by the rule of GitHub, so that both render the same links.
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
# An unknown lexer would be a warning, and so an error.
highlight_language = "none"

html_theme = "furo"
html_title = f"fruits {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
