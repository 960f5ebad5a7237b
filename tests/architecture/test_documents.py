"""What the documents lead to is there: files, tests, decisions."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.architecture.documents import (
    ADRS,
    GUARANTEES,
    PAGES,
    PROFILE,
    ROOT,
    SECURITY,
    blocks,
    broken_links,
    functions,
    links_to_tests,
    names,
    paths_named,
    rows,
    section,
)
from worker.store.schema.tables import metadata

DECISIONS = sorted(ADRS.glob("*.md"))
PROMISES = 10


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_lead_somewhere(page):
    """Each relative link leads to a file or folder of this repository, and to a heading in it."""
    assert broken_links(page) == []


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_named_files_exist(page):
    """Each file of the code, tests and documents that a page names is there."""
    assert [path for path in paths_named(page) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_named_tests_exist(page):
    """Each ``tests/….py::test_…`` that a page rests on is a test of that file."""
    missing = [
        f"{path}::{name}"
        for path, name in links_to_tests(page.read_text(encoding="utf-8"))
        if not (ROOT / path).exists() or name not in functions(path)
    ]
    assert missing == []


def test_every_promise_has_its_tests_and_its_limits():
    """The ten promises stand in order, each with tests that show it and with where it ends."""
    text = GUARANTEES.read_text(encoding="utf-8")
    titles = re.findall(r"(?m)^## (\d+\. .+)$", text)
    assert [str(number) for number in range(1, PROMISES + 1)] == [t.split(".")[0] for t in titles]
    for title in titles:
        promise = section(text, title)
        assert links_to_tests(promise), title
        assert "Limits:" in promise, title


def test_every_claim_about_security_has_its_test():
    """Each attempt on the page names a test, in every part; so does each figure."""
    page = SECURITY.read_text(encoding="utf-8")
    parts = re.split(r"(?m)^## ", page)
    attempts = [part for part in parts if "| attempt |" in part or part.startswith("Figures")]
    assert len(attempts) == 8
    claims = [row for part in attempts for row in rows(part)]
    assert len(claims) >= 40
    untested = [row[0] for row in claims if not links_to_tests(row[-1])]
    assert untested == []


def test_every_requirement_of_helseid_is_answered():
    """SK1 to SK5, what is beyond, FK1 to FK6: each with a test, or a word why there is none."""
    text = PROFILE.read_text(encoding="utf-8")
    security = rows(section(text, "Security requirements"))
    functional = rows(section(text, "Functional requirements"))
    assert [re.findall(r"\*\*(.+?)\*\*", row[0])[0] for row in security] == [
        "SK1",
        "SK2",
        "SK3 to SK5",
        "SK6 and onward",
    ]
    assert [f"FK{number}" for number in range(1, 7)] == [
        re.findall(r"\*\*(.+?)\*\*", row[0])[0] for row in functional
    ]
    for row in (*security[:-1], *functional):
        assert links_to_tests(row[3]), row[0]
    assert "Unknown" in security[-1][1]


@pytest.mark.parametrize("decision", DECISIONS, ids=lambda path: path.stem)
def test_a_decision_has_its_form(decision):
    """Number and title as in the file's name; status, context, decision, consequences, rejected."""
    text = decision.read_text(encoding="utf-8")
    number = decision.name[:4]
    assert re.match(rf"# {number} \S", text)
    assert re.findall(r"(?m)^## (.+)$", text) == [
        "Status",
        "Context",
        "Decision",
        "Consequences",
        "Rejected",
    ]


def test_decisions_are_numbered_without_gaps():
    """A decision is never deleted; another one supersedes it."""
    assert [f"{number:04}" for number in range(1, len(DECISIONS) + 1)] == [
        path.name[:4] for path in DECISIONS
    ]


def test_every_dependency_has_its_line():
    """What pyproject.toml asks for and what the decision accounts for are the same."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    wanted = [*project["dependencies"], *(text for extra in extras for text in extra)]
    (page,) = ADRS.glob("0014-*.md")
    reported = [names(row[0])[0] for row in rows(page.read_text(encoding="utf-8"))]
    assert sorted(Requirement(text).name for text in wanted) == sorted(reported)


def layers_drawn(diagram: str) -> list[set[str]]:
    """The rows of the diagram, from the top; a row that is drawn again is one row."""
    drawn: list[set[str]] = []
    for line in diagram.splitlines():
        for group in line.split("-->") if "-->" in line else ():
            row = {re.sub(r'^\w+\["(.*)"\]$', r"\1", name.strip()) for name in group.split("&")}
            if not any(row <= known for known in drawn):
                drawn.append(row)
    return drawn


def test_the_diagram_of_layers_is_the_contract():
    """Nobody draws a layer that is not there, or forgets one."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    (layers,) = (one["layers"] for one in contracts if one["id"] == "layers")
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    (diagram,) = blocks(section(page, "Layers"), "mermaid")
    assert [set(layer.split(" | ")) for layer in layers] == layers_drawn(diagram)


def test_privacy_accounts_for_every_table():
    """What is stored, why and for how long: each table of the database, and no other."""
    page = (ROOT / "docs" / "privacy.md").read_text(encoding="utf-8")
    stored = rows(section(page, "What is stored, why, and for how long"))
    cells = [row[0].partition(":")[0] for row in stored if not row[0].startswith("the same")]
    named = {name.partition(".")[0] for cell in cells for name in names(cell)}
    assert set(metadata.tables) == named - {"prev_local_ref", "prev_cohort", "cohort"}


@pytest.mark.parametrize(
    ("page", "title", "folder"),
    [
        ("internals.md", "Modules of the store", "worker/store"),
        ("simulation.md", "The modules", "tests/simulation"),
    ],
)
def test_a_table_names_every_module(page, title, folder):
    """Each module of the folder has its line, or its subfolder has; no line is left over."""
    table = rows(section((ROOT / "docs" / page).read_text(encoding="utf-8"), title))
    named = {name for row in table for name in names(row[0])}
    paths = [path.relative_to(ROOT / folder) for path in (ROOT / folder).rglob("*.py")]
    modules = {path for path in paths if not path.name.startswith(("__init__", "test_"))}
    lines = {str(path): {str(path), f"{path.parent}/"} & named for path in modules}
    assert sorted(path for path, line in lines.items() if not line) == []
    assert named == set().union(*lines.values())
