"""The ``--json`` documents: their members, as docs/json-documents.txt has them.

After an intended change: ``PTS_WRITE_GOLDEN=1 pytest tests/acceptance/test_json_documents.py``.
"""

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.made_databases import copy_of
from tests.support.program import Installation, Sandbox, calls
from tests.support.two_runs import changed, identifier

GOLDEN: Final = Path(__file__).parents[2] / "docs/json-documents.txt"
CALLS: Final = {
    "status": "status --max-age 36h",
    "failures-list": "failures list",
    "explain": "explain < CHANGED",
    "report": "report --out report.html",
    "export": "export --out exported --view patient_safety_current",
    "doctor": "doctor --probe --person - < CHANGED",
    "sync": "sync",
    "error": "sync --set sync.concurrency=0 --set log.level=LOUD",
    "failures-show": "failures show < CHANGED",
    "config-check": "config check",
    "config-show": "config show",
    "db-upgrade": "db upgrade",
    "db-check": "db check",
    "db-backup": "db backup copy.db",
    "init": "init --out new.toml",
    "keys-new": "keys new --out new.jwk",
    "keys-pseudonym": "keys pseudonym --out new.key",
    "erase": "erase < CHANGED",
}
"""Calls by name, in this order; ``<`` is what stands on standard input."""

WORDS: Final = frozenset({"area", "areas[]", "kind", "name", "state", "status", "type"})
"""Members of whose texts scripts may know each."""


def members(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Each member's path, in order, with its word or the kind of its value."""
    match value:
        case dict() | list() if not value:
            yield path, "nothing"
        case dict():
            for name, item in value.items():
                yield from members(item, f"{path}.{name}".lstrip("."))
        case list():
            for item in value:
                yield from members(item, f"{path}[]")
        case None | bool():
            yield path, "null" if value is None else "truth"
        case str():
            yield path, value if path.rpartition(".")[2] in WORDS else "a text"
        case _:
            yield path, "a number"


def described(code: int, document: Any) -> str:
    """A line for each member: its path, its words and the kinds of its other values."""
    found: dict[str, set[str]] = defaultdict(set)
    for path, said in members(document):
        found[path].add(said)
    lines = (f"{path}: {' | '.join(sorted(said))}" for path, said in found.items())
    return "\n".join((f"exit code {code}", *lines))


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
        line, _, given = call.partition(" < ")
        lines.append((f"{line} --json", person if given else ""))
    ends = zip(CALLS, calls(worker, *lines), strict=True)
    return {name: described(ended.code, ended.document) for name, ended in ends}


@pytest.mark.parametrize("name", CALLS)
def test_the_document_is_as_it_was(name: str, documents: dict[str, str]):
    """Names, order, kinds and words; scripts read them."""
    if os.environ.get("PTS_WRITE_GOLDEN"):
        parts = (f"# {CALLS[name]}\n{text}\n" for name, text in documents.items())
        GOLDEN.write_text("\n".join(parts), encoding="utf-8")
    texts = GOLDEN.read_text(encoding="utf-8").strip().split("\n\n")
    assert f"# {CALLS[name]}\n{documents[name]}" in texts
