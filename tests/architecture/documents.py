"""Reads the documents as their readers do: tables, code blocks, links and names.

``python -m tests.architecture.documents`` writes the generated pages of docs/ anew, and the
sources of the dbt package.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
README: Final = ROOT / "README.md"
DOCS: Final = ROOT / "docs"
ADRS: Final = DOCS / "adr"
OPERATIONS: Final = DOCS / "operations.md"
GUARANTEES: Final = DOCS / "guarantees.md"
PROFILE: Final = DOCS / "helseid-profile.md"
SECURITY: Final = DOCS / "security.md"
PAGES: Final = (
    README,
    ROOT / "CHANGELOG.md",
    ROOT / "SECURITY.md",
    *sorted(DOCS.rglob("*.md")),
)

_FENCED: Final = re.compile(r"(?ms)^```.*?^```$")
_TEST_LINK: Final = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def section(text: str, title: str) -> str:
    """What stands under a heading, up to the next one of the same or a higher level."""
    match = re.search(rf"(?m)^(#+) {re.escape(title)}$", text)
    assert match, f"no heading {title!r}"
    rest = text[match.end() :]
    end = re.search(rf"(?m)^#{{1,{len(match[1])}}} ", rest)
    return rest[: end.start()] if end else rest


def rows(text: str) -> list[list[str]]:
    """The body rows of the first table in a text, as cells."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [re.split(r"(?<!\\)\|", line.strip("|")) for line in lines]
    return [[cell.strip() for cell in row] for row in cells[2:]]


def names(cell: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def blocks(text: str, language: str) -> list[str]:
    """The fenced code blocks of a language."""
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```$", text)


def links_to_tests(text: str) -> list[tuple[str, str]]:
    """Each ``tests/…py::test_…`` of a text: file and function."""
    return _TEST_LINK.findall(text)


@cache
def functions(path: str) -> frozenset[str]:
    """The functions and methods that a source file defines."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, kinds))


def broken_links(page: Path) -> list[str]:
    """The relative links of a page that lead to no file, or to no heading of a Markdown page."""
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    targets = re.findall(r"\]\(<?([^)>\s]+)>?[^)]*\)", text)
    return [link for link in targets if ":" not in link and not _leads_somewhere(page, link)]


def _leads_somewhere(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    if not target.exists():
        return False
    return not anchor or (target.suffix == ".md" and anchor in anchors(target))


@cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors of a page's headings, as GitHub and MyST make them."""
    found: dict[str, int] = {}
    for heading in re.findall(
        r"(?m)^#+ +(.+?) *$", _FENCED.sub("", page.read_text(encoding="utf-8"))
    ):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        found[slug] = found.get(slug, -1) + 1
    return frozenset(
        f"{slug}-{number}" if number else slug
        for slug, last in found.items()
        for number in range(last + 1)
    )


def paths_named(page: Path) -> Iterator[str]:
    """Files and folders of this repository that stand in backticks."""
    text = page.read_text(encoding="utf-8")
    yield from re.findall(r"`((?:worker|tests|docs|migrations)/[\w./-]*)(?:::\w+)?`", text)


def rewrite() -> None:
    """Write the generated pages anew."""
    from tests.architecture.dbt_sources import SOURCES, sources_file
    from tests.architecture.reference import HEAD, REFERENCE

    for name, made in REFERENCE.items():
        page = DOCS / f"{name}.md"
        page.parent.mkdir(exist_ok=True)
        page.write_text(HEAD + made(), encoding="utf-8")
    SOURCES.write_text(sources_file(), encoding="utf-8")


if __name__ == "__main__":
    rewrite()
