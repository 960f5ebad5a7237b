"""Reads the documents as their readers do: tables, code blocks, links and names."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
README: Final = ROOT / "README.md"
DOCS: Final = ROOT / "docs"
INSTALL: Final = DOCS / "install-server.md"
DATABASE: Final = DOCS / "database.md"
PAGES: Final = (
    README,
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    *sorted(DOCS.rglob("*.md")),
)

_FOLDERS: Final = "worker|tests|docs|migrations|tools|bench"
_FENCED: Final = re.compile(r"(?ms)^```.*?^```$")


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
    """Files and folders of this repository that stand in backticks, and modules of ``worker/``."""
    text = page.read_text(encoding="utf-8")
    yield from re.findall(rf"`((?:{_FOLDERS})/[\w./-]*)`", text)
    for module in re.findall(rf"(?<![\w/.])(?!{_FOLDERS})((?:[a-z]+/)+[a-z_]+\.py)\b", text):
        yield f"worker/{module}"
