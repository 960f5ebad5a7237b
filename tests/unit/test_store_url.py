"""URLs of the store: each leads where it says, or is refused with a sentence."""

import os
import sqlite3
from pathlib import Path

import pytest

from tests.fakes import FakeRuntime
from worker.config.store_url import check_store_url
from worker.store.database import open_database


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqlite://", "names a database in memory"),
        ("sqlite:///", "names a database in memory"),
        ("sqlite:///:memory:", "names a database in memory"),
        ("sqlite:///%3Amemory%3A", "names a database in memory"),
        ("sqlite://pts.db", "three slashes"),
        ("sqlite://var/lib/pts.db", "three slashes"),
        ("sqlite:////data/q?mark.db", "written %3F"),
        ("sqlite:////data/pts.db?mode=ro", "SQLite gets none"),
        ("sqlite:////data/pts.db?", "SQLite gets none"),
        ("sqlite:///file:pts.db?uri=true&mode=ro", "SQLite gets none"),
        ("sqlite:////data/a%00b.db", "NUL"),
        ("postgresql://u@h/d?sslmode=require", "not known: sslmode; write ssl= for sslmode="),
        ("postgresql://u@h/d?conect_timeout=3&ssl=require", "not known: conect_timeout"),
        ("postgresql://u@h/d?x%0Ay=1", "not known: …"),
        ("postgresql://u@h/d?server_settings=1", "not known: server_settings"),
    ],
)
def test_refused(url: str, says: str):
    """What would be written elsewhere, lost, or passed over."""
    with pytest.raises(ValueError, match=r"^(?!.*/data)") as caught:
        check_store_url(url)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u@h/d",
        "postgresql://u:p@h:5432/d?ssl=verify-full",
        "postgresql:///d?host=/run/postgresql",
        "postgresql://u@/d?host=a:1&host=b:2&target_session_attrs=primary",
    ],
)
def test_taken(url: str):
    """What the driver takes."""
    check_store_url(url)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("q%3Fmark.db", "q?mark.db"),
        ("a%20b.db", "a b.db"),
        ("a b.db", "a b.db"),
        ("100%25.db", "100%.db"),
        ("100%.db", "100%.db"),
        ("h#x.db", "h#x.db"),
        ("file:pts.db", "file:pts.db"),
        ("%C3%B8.db", "ø.db"),
    ],
)
async def test_the_file_is_the_one_that_is_named(tmp_path: Path, written: str, name: str):
    """A percent sign begins a code, as in every URL; what is not one stays."""
    url = f"sqlite:///{tmp_path}/{written}"
    check_store_url(url)
    async with open_database(url, FakeRuntime().runtime) as database:
        await database.write(lambda one: one.exec_driver_sql("CREATE TABLE t (x)"))
    assert [name] == os.listdir(tmp_path)  # noqa: PTH208 - names, not paths
    found = sqlite3.connect(tmp_path / name)
    assert [("t",)] == found.execute("SELECT name FROM sqlite_master").fetchall()
    found.close()
