"""Builds docs/ as a site with Sphinx: ``make docs``.

The navigation is made of the links in index.md. A page without a link there is a warning, and a
warning ends the build. No page loads anything from another host.
"""

import re

from pygments.lexers.special import TextLexer
from pygments.lexers.sql import SqlLexer
from sphinx.highlighting import lexers

# Statements that the tests run on SQLite only (docs/reporting.md).
lexers["sqlite"] = SqlLexer()

project = "pts-sync-worker"
extensions = ["myst_parser"]
myst_heading_anchors = 4
nitpicky = True
html_theme = "alabaster"
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["tables.css"]
html_theme_options = {
    "description": "Keeps a local, provable copy of PTS access restrictions for reporting.",
    "fixed_sidebar": True,
    "show_powered_by": False,
    "page_width": "84rem",
    "font_family": "system-ui, sans-serif",
    "head_font_family": "system-ui, sans-serif",
}


OUTSIDE = re.compile(
    r"\[([^\]]+)\]\((?:\.\./)+(?:README|SECURITY|CHANGELOG|CONTRIBUTING)\.md[^)]*\)"
)
"""Links to pages of the repository that are not on the site. They become plain text."""


def _prepare(_app, page, source):
    source[0] = OUTSIDE.sub(r"\1", source[0])
    if page != "index":
        return
    for part in re.split(r"(?m)^## ", source[0])[1:]:
        title = part.partition("\n")[0]
        pages = dict.fromkeys(re.findall(r"\]\(([^)#:.]+)\.md\)", part))
        tree = "\n".join(["```{toctree}", ":hidden:", f":caption: {title}", "", *pages, "```"])
        source[0] += f"\n\n{tree}\n"


def setup(app):
    """Called by Sphinx. Mermaid diagrams are shown as text, because drawing them needs a script."""
    app.add_lexer("mermaid", TextLexer)
    app.connect("source-read", _prepare)
