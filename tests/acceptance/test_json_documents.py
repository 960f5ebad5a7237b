"""The members of the ``--json`` documents, as on the page of the reference.

After an intended change: ``PTS_WRITE_GOLDEN=1 pytest tests/acceptance/test_json_documents.py``.
"""

import os
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.support.documents import DOCS
from tests.support.made_databases import copy_of
from tests.support.program import Installation, Sandbox, calls
from tests.support.two_runs import changed, identifier

GOLDEN: Final = DOCS / "reference" / "json-documents.md"
HEAD: Final = """\
<!-- `PTS_WRITE_GOLDEN=1 pytest tests/acceptance/test_json_documents.py` writes this page -->
# JSON documents

With `--json`, a command prints one JSON document on standard output. Each block has the exit code \
of a call, and a line for each member with its type or its possible words. `[]` is each item of a \
list. Names, types and words are stable: a later version only adds members.
"""
CALLS: Final = {
    "status": "status --max-age 36h",
    "failures-list": "failures list",
    "explain": "explain < identifier.txt",
    "report": "report --out report.html",
    "export": "export --out exported --view patient_safety_current",
    "doctor": "doctor --probe --person - < identifier.txt",
    "sync": "sync",
    "error": "sync --set sync.concurrency=0 --set log.level=LOUD",
    "failures-show": "failures show < identifier.txt",
    "config-check": "config check",
    "config-show": "config show",
    "db-upgrade": "db upgrade",
    "db-check": "db check",
    "db-backup": "db backup copy.db",
    "init": "init --out new.toml",
    "keys-new": "keys new --out new.jwk",
    "keys-pseudonym": "keys pseudonym --out new.key",
    "erase": "erase < identifier.txt",
}
"""Calls by name, in the order of the page. ``identifier.txt`` has a person who changed."""

WORDS: Final = frozenset({"area", "areas[]", "kind", "name", "state", "status", "type"})
"""Members whose words scripts may rely on."""


def members(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Each member's path, in order, with its word or its type."""
    match value:
        case dict() | list() if not value:
            yield path, "empty"
        case dict():
            for name, item in value.items():
                yield from members(item, f"{path}.{name}".lstrip("."))
        case list():
            for item in value:
                yield from members(item, f"{path}[]")
        case None | bool():
            yield path, "null" if value is None else "true or false"
        case str():
            yield path, value if path.rpartition(".")[2] in WORDS else "text"
        case _:
            yield path, "number"


def described(code: int, document: Any) -> str:
    """A line for each member: its path, its words and types."""
    types_by_path: dict[str, set[str]] = defaultdict(set)
    for path, type_name in members(document):
        types_by_path[path].add(type_name)
    lines = (f"{path}: {' | '.join(sorted(types))}" for path, types in types_by_path.items())
    return "\n".join((f"exit code {code}", *lines))


def block(name: str, text: str) -> str:
    """The heading and the code block of a call, as they are on the page."""
    return f"## `pts-worker {CALLS[name]}`\n\n```text\n{text}\n```\n"


@pytest.fixture(scope="module")
def documents(
    two_runs: Installation, served: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """Exit code and document of each call, one after the other on a copy of the store."""
    folder = tmp_path_factory.mktemp("documents")
    worker = served.install(folder, copy_of(two_runs.database_url, folder))
    person = identifier(served, changed(worker))
    lines = []
    for call in CALLS.values():
        arguments, _, stdin_file = call.partition(" < ")
        lines.append((f"{arguments} --json", person if stdin_file else ""))
    ends = zip(CALLS, calls(worker, *lines), strict=True)
    return {name: described(ended.code, ended.document) for name, ended in ends}


@pytest.mark.parametrize("name", CALLS)
def test_the_document_is_as_it_was(name: str, documents: dict[str, str]):
    """Scripts rely on names, order, types and words."""
    if os.environ.get("PTS_WRITE_GOLDEN"):
        parts = (block(call, text) for call, text in documents.items())
        GOLDEN.write_text("\n".join((HEAD, *parts)), encoding="utf-8")
    assert block(name, documents[name]) in GOLDEN.read_text(encoding="utf-8")
