"""Reads the documents as their readers do: tables, code blocks, links and names.

``python -m tests.architecture.documents`` writes the README's table of configuration keys, the
columns in its table of reporting views, and the metric reference of docs/operations.md anew.
"""

import ast
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Final

from worker.areas.reporting import COLUMNS
from worker.config import markdown_table
from worker.core.model import RunKind, RunStatus
from worker.core.run import RunReport
from worker.errors import ExitCode
from worker.store.schema.tables import TOTALS
from worker.telemetry.numbers import HELP, PREFIX, Sample, samples_of

ROOT: Final = Path(__file__).parents[2]
README: Final = ROOT / "README.md"
ADRS: Final = ROOT / "docs" / "adr"
OPERATIONS: Final = ROOT / "docs" / "operations.md"
GUARANTEES: Final = ROOT / "docs" / "guarantees.md"
PROFILE: Final = ROOT / "docs" / "helseid-profile.md"
SECURITY: Final = ROOT / "docs" / "security.md"
PAGES: Final = (
    README,
    ROOT / "CHANGELOG.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").rglob("*.md")),
)

_CONFIGURATION: Final = re.compile(
    r"(<!-- configuration: [^\n]* -->\n)(.*?)(<!-- end of configuration -->)", re.DOTALL
)
_METRICS: Final = re.compile(
    r"(<!-- metrics: [^\n]* -->\n)(.*?)(<!-- end of metrics -->)", re.DOTALL
)
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


def configuration_table(text: str) -> str:
    """The README's table of configuration keys."""
    match = _CONFIGURATION.search(text)
    assert match, "the README has no place for the configuration table"
    return match[2]


def links_to_tests(text: str) -> list[tuple[str, str]]:
    """Each ``tests/…py::test_…`` of a text: file and function."""
    return _TEST_LINK.findall(text)


@cache
def functions(path: str) -> frozenset[str]:
    """The functions and methods that a source file defines."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, kinds))


def relative_links(page: Path) -> Iterator[Path]:
    """The files that a page's relative links lead to."""
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            yield (page.parent / target).resolve()


def paths_named(page: Path) -> Iterator[str]:
    """Files and folders of this repository that stand in backticks."""
    text = page.read_text(encoding="utf-8")
    yield from re.findall(r"`((?:worker|tests|docs|migrations)/[\w./-]*)(?:::\w+)?`", text)


def metric_samples() -> tuple[Sample, ...]:
    """A sample of every metric, with each value that a label can have."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    samples: list[Sample] = []
    for kind in RunKind:
        report = RunReport(
            run_id=1,
            kind=kind,
            status=RunStatus.PUBLISHED,
            exit_code=ExitCode.OK,
            started_at=at,
            finished_at=at,
            published_at=at,
            totals=dict.fromkeys(TOTALS, 0),
        )
        samples += samples_of(report)
    return tuple(samples)


def metric_reference() -> list[tuple[str, str, str]]:
    """Each metric without its prefix, its labels with their values, and what it tells."""
    labels: dict[str, dict[str, list[str]]] = {}
    for sample in metric_samples():
        own = labels.setdefault(sample.name.removeprefix(PREFIX), {})
        for label, value in sample.labels:
            own.setdefault(label, [])
            own[label] += [value] if value not in own[label] else []
    return [
        (name, "; ".join(f"`{label}`: {', '.join(values)}" for label, values in own.items()), tells)
        for name, tells in HELP.items()
        for own in [labels.pop(name)]
    ]


def metric_table() -> str:
    """The metric reference of docs/operations.md."""
    lines = ["| metric | labels | what |", "|---|---|---|"]
    lines += [f"| `{PREFIX}{name}` | {own} | {tells} |" for name, own, tells in metric_reference()]
    return "".join(f"{line}\n" for line in lines)


def rewrite() -> None:
    """Write the generated tables into the README and docs/operations.md."""
    for page, place, table in (
        (README, _CONFIGURATION, markdown_table()),
        (OPERATIONS, _METRICS, metric_table()),
    ):
        text = page.read_text(encoding="utf-8")
        match = place.search(text)
        assert match, f"{page.name} has no place for its table"
        page.write_text(text[: match.start(2)] + table + text[match.end(2) :], encoding="utf-8")
    README.write_text(with_columns(README.read_text(encoding="utf-8")), encoding="utf-8")


def with_columns(text: str) -> str:
    """The README with the columns of each reporting view that its table names."""
    for view, columns in COLUMNS.items():
        listed = ", ".join(f"`{column.name}`" for column in columns)
        row = re.compile(rf"(?m)^(\| `{view}` \|[^|\n]*\|)[^|\n]*\|$")
        text = row.sub(rf"\1 {listed} |", text)
    return text


if __name__ == "__main__":
    rewrite()
