"""Reads the documents as their readers do: tables, code blocks, links and names."""

import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
README: Final = ROOT / "README.md"
DOCS: Final = ROOT / "docs"
INSTALL: Final = DOCS / "install-server.md"
DATABASE: Final = DOCS / "database.md"


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
