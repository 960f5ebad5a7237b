"""Two runs on an unchanged source: the second writes no restriction row."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.made_databases import BOTH
from tests.support.program import Sandbox, sandbox
from tests.support.published import Store

TABLES = ("patient_safety_version", "patient_privacy_version")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with sandbox(tmp_path_factory.mktemp("sandbox"), "--persons", "40") as running:
        yield running


def count_writes(store: Store) -> None:
    """Let the database itself count every write to the restrictions."""
    store.rows("CREATE TABLE writes (what text)")
    for table in TABLES:
        for action in ("INSERT", "UPDATE", "DELETE"):
            name = f"count_{table}_{action}"
            if store.is_sqlite:
                store.rows(
                    f"CREATE TRIGGER {name} AFTER {action} ON {table} "
                    f"BEGIN INSERT INTO writes VALUES ('{action} {table}'); END"
                )
                continue
            store.rows(
                f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS "
                f"$$ BEGIN INSERT INTO writes VALUES ('{action} {table}'); RETURN NULL; END $$"
            )
            store.rows(
                f"CREATE TRIGGER {name} AFTER {action} ON {table} "
                f"FOR EACH ROW EXECUTE FUNCTION {name}()"
            )


def rows_as_they_lie(store: Store) -> list[tuple[Any, ...]]:
    """Every row with what changes when it is written again, even with the same values."""
    mark = "rowid" if store.is_sqlite else "xmin::text || ' ' || ctid::text"
    return [row for table in TABLES for row in store.rows(f"SELECT {mark}, * FROM {table}")]


@pytest.mark.parametrize("database_url", BOTH, indirect=True)
def test_the_second_run_writes_no_row(world: Sandbox, tmp_path: Path, database_url: str) -> None:
    """No insert, update or delete reaches the restrictions, not even one without effect.

    The same triggers see the writes of a night on which something changed.
    """
    world.control(generation=0)
    worker = world.install(tmp_path, database_url)
    first = worker.sync()
    assert first.code == 0, first.err
    opened = first.run["totals"]["rows_opened"]
    assert opened > 20
    count_writes(worker.store)
    before, history = rows_as_they_lie(worker.store), worker.store.history()
    second = worker.sync()
    assert second.code == 0
    assert worker.store.rows("SELECT * FROM writes") == []
    assert rows_as_they_lie(worker.store) == before
    assert worker.store.history() == history
    names = ("opened", "changed", "closed", "unchanged")
    assert {name: second.run["totals"][f"rows_{name}"] for name in names} == {
        **dict.fromkeys(names, 0),
        "unchanged": opened,
    }

    world.control(generation=2)
    worker.configure(sync={"max_removed_share": 1.0})
    ended = worker.sync()
    assert ended.code == 0, ended.story()
    assert sum(ended.run["totals"][f"rows_{name}"] for name in names[:3]) > 0
    assert worker.store.rows("SELECT * FROM writes") != []
