"""Every command's ``--json`` document, as it stands in ``golden/``: one file a call.

After an intended change: ``PTS_WRITE_GOLDEN=1 pytest tests/acceptance/test_json_documents.py``.
"""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.program import Installation, Sandbox
from tests.support.session import calls
from tests.support.two_runs import FAILING

GOLDEN: Final = Path(__file__).parent / "golden"
STRANGER: Final = "16858399649"
CALLS: Final = {
    "db-upgrade": "db upgrade",
    "db-check": "db check",
    "plan": "plan --requests-per-second 20",
    "status": "status --max-age 36h",
    "failures-list": "failures list",
    "failures-show": "failures show - < FAILED",
    "explain": "explain < CHANGED",
    "explain-as-of": "explain --as-of 2020-01-01 < FAILED",
    "explain-stranger": "explain < STRANGER",
    "verify": "verify --sample 200",
    "report": "report --out report.html",
    "export": "export --out exported --view patient_safety_current",
    "doctor": "doctor --probe --person - < CHANGED",
    "erase-dry-run": "erase --dry-run < CHANGED",
    "erase": "erase < CHANGED",
    "failures-purge": "failures purge --older-than 5000d",
    "failures-retry": "failures retry",
    "backfill": "backfill --person - < CHANGED",
    "sync": "sync",
    "keys-new": "keys new --out new.jwk",
    "keys-public": "keys public",
    "keys-check": "keys check",
    "keys-rotate": "keys rotate --by-hand",
    "keys-pseudonym": "keys pseudonym --out new.key",
    "config-show": "config show",
    "db-backup": "db backup --out copy.db",
    "db-restore": "db restore copy.db --replace",
    "error": "failures purge",
}
"""Calls by the name of their golden file, in this order; ``<`` is what stands on standard input."""

TEXTS: Final = (
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(Z|\+00:00)"), "<time>"),
    (re.compile(r"127\.0\.0\.1:\d+"), "<address>"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "<hash>"),
    (re.compile(r"SQLite [\d.]+"), "SQLite <version>"),
    (re.compile(r"schema \d{4}"), "schema <schema>"),
    (re.compile(r"kid [\w-]+"), "kid <kid>"),
    (re.compile(r"\bp-[0-9a-f]{8}\b"), "<key>"),
    (re.compile(r"^/.*/"), "<folder>/"),
    (re.compile(r"valid for \d+ s"), "valid for <seconds> s"),
    (re.compile(r"expires \d{4}-\d\d-\d\d, in \d+ days"), "expires <date>, in <days> days"),
)
VOLATILE: Final = frozenset(
    {
        *("age_s", "ahead_s", "clock_ahead_s", "expires_in_s", "bytes", "person_id", "digest"),
        *("kid", "former_kid", "x", "y", "before", "after", "database", "program", "schema"),
        *("worker_version", "schema_revision", "next_after"),
    }
)
"""Members whose text or number differs from call to call, or with the version of something."""
SHORTENED: Final = frozenset({"keys", "searched"})
"""Lists of which the first item is enough: they grow with the configuration and the schema."""


def masked(value: Any, name: str = "") -> Any:
    """The value, with a mask for what differs between runs."""
    if isinstance(value, dict):
        return {key: masked(item, key) for key, item in value.items()}
    if isinstance(value, list):
        kept = value[:1] if name in SHORTENED else value
        return [masked(item, name) for item in kept]
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
    roster = {ref: off_id for off_id, ref in (line.split(",")[:2] for line in served.lines())}
    changed = worker.store.one(
        "SELECT local_ref FROM report_patient_safety_history WHERE valid_to IS NOT NULL "
        "ORDER BY local_ref LIMIT 1"
    )
    failed = served.lines()[FAILING].partition(",")[0]
    persons = {"CHANGED": roster[changed], "FAILED": failed, "STRANGER": STRANGER}
    lines = []
    for call in CALLS.values():
        line, _, given = call.partition(" < ")
        lines.append((f"{line} --json", persons.get(given, "")))
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
    assert file.read_text(encoding="utf-8") == found
