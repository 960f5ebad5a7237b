"""Generates the pages of the reference: ``python -m tools.docs``."""

from tools.docs.dbt_sources import SOURCES, sources_file
from tools.docs.reference import HEAD, REFERENCE
from tools.docs.tree import ROOT

for name, content_of in REFERENCE.items():
    page = ROOT / "docs" / f"{name}.md"
    page.parent.mkdir(exist_ok=True)
    page.write_text(HEAD + content_of(), encoding="utf-8")
SOURCES.write_text(sources_file(), encoding="utf-8")
