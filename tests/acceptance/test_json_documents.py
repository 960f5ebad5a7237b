"""The ``--json`` documents that are contracts, as they stand in ``golden/``: one file a call.

After an intended change: ``PTS_WRITE_GOLDEN=1 pytest tests/acceptance/test_json_documents.py``.
"""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.program import Installation, Sandbox, calls
from tests.support.two_runs import changed, identifier

GOLDEN: Final = Path(__file__).parent / "golden"
CALLS: Final = {
    "status": "status --max-age 36h",
    "failures-list": "failures list",
    "explain": "explain < CHANGED",
    "report": "report --out report.html",
    "export": "export --out exported --view patient_safety_current",
    "doctor": "doctor --probe --person - < CHANGED",
    "sync": "sync",
    "error": "sync --set sync.concurrency=0 --set log.level=LOUD",
}
"""Calls by the name of their golden file, in this order; ``<`` is what stands on standard input."""

TEXTS: Final = (
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(Z|\+00:00)"), "<time>"),
    (re.compile(r"127\.0\.0\.1:\d+"), "<address>"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "<hash>"),
    (re.compile(r"SQLite [\d.]+"), "SQLite <version>"),
    (re.compile(r"schema \d{4}"), "schema <schema>"),
    (re.compile(r"kid [\w-]+"), "kid <kid>"),
    (re.compile(r"\b[0-9a-f]{16}\b"), "<fingerprint>"),
    (re.compile(r"^/.*/"), "<folder>/"),
    (re.compile(r"valid for \d+ s"), "valid for <seconds> s"),
)
VOLATILE: Final = frozenset(
    {
        *("age_s", "ahead_s", "clock_ahead_s", "expires_in_s", "bytes", "person_id", "digest"),
        *("kid", "database", "program", "schema", "worker_version", "schema_revision"),
        *("requests", "retries"),  # who is asked again depends on who was read meanwhile
    }
)
"""Members whose text or number differs from call to call, or with the version of something."""


def masked(value: Any, name: str = "") -> Any:
    """The value, with a mask for what differs between runs."""
    if isinstance(value, dict):
        return {key: masked(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [masked(item, name) for item in value]
    if name in VOLATILE and value is not None:
        return f"<{name}>"
    if isinstance(value, str):
        for pattern, mask in TEXTS:
            value = pattern.sub(mask, value)
    return value


@pytest.fixture(scope="module")
def documents(
    two_runs: Installation, served: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """Exit code and document of each call, one after the other on a copy of the store."""
    folder = tmp_path_factory.mktemp("documents")
    shutil.copy(two_runs.store.path, folder / "pts.db")
    worker = served.install(folder, f"sqlite:///{folder / 'pts.db'}")
    person = identifier(served, changed(worker))
    lines = []
    for call in CALLS.values():
        line, _, given = call.partition(" < ")
        lines.append((f"{line} --json", person if given else ""))
    ends = zip(CALLS, calls(worker, *lines), strict=True)
    return {
        name: {"exit_code": ended.code, "document": masked(ended.document)} for name, ended in ends
    }


@pytest.mark.parametrize("name", CALLS)
def test_the_document_is_as_it_was(name: str, documents: dict[str, Any]):
    """Names, order, kinds and values; scripts read them."""
    found = json.dumps(documents[name], indent=2, ensure_ascii=False) + "\n"
    file = GOLDEN / f"{name}.json"
    if os.environ.get("PTS_WRITE_GOLDEN"):
        file.write_text(found, encoding="utf-8")
    assert found == file.read_text(encoding="utf-8")
