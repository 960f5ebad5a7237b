"""Two runs on an unchanged source: the second writes no restriction row."""

from pathlib import Path
from typing import Any

from tests.support.program import Sandbox
from tests.support.published import Store

TABLES = ("patient_safety_version", "patient_privacy_version")


def rows_as_they_lie(store: Store) -> list[tuple[Any, ...]]:
    """Every row with what PostgreSQL changes when it is written, even with the same values."""
    return [row for table in TABLES for row in store.rows(f"SELECT xmin, ctid, * FROM {table}")]


def test_the_second_run_writes_no_row(served: Sandbox, tmp_path: Path, postgresql_url: str) -> None:
    """No insert, update or delete reaches the restrictions, not even one without effect.

    On a night on which something changed the same look shows what was written.
    """
    served.control(generation=0)
    worker = served.install(tmp_path, postgresql_url)
    worker.configure(sync={"max_removed_share": 1.0})
    first = worker.sync()
    assert first.code == 0, first.err
    opened = first.run["totals"]["rows_opened"]
    assert opened > 10
    before = rows_as_they_lie(worker.store)
    second = worker.sync()
    assert second.code == 0
    assert rows_as_they_lie(worker.store) == before
    names = ("opened", "changed", "closed", "unchanged")
    written = [second.run["totals"][f"rows_{name}"] for name in names]
    assert written == [0, 0, 0, opened]

    served.control(generation=15)
    ended = worker.sync()
    assert ended.code == 0, ended.story()
    assert rows_as_they_lie(worker.store) != before
