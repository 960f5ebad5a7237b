"""The roster as a query, on a real SQLite file."""

import os
import sqlite3

import pytest

from worker.core.model import RosterEntry
from worker.errors import ConfigurationError, RosterError
from worker.roster.query import QueryRoster

URI = "sqlite:///file:{}?mode=ro&uri=true"
A = "16858399649"
B = "02013299997"


@pytest.fixture
def url(tmp_path):
    path = tmp_path / "ehr.db"
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("create table patient (fnr, ref, seen text)")
        connection.executemany(
            "insert into patient values (?, ?, ?)",
            [(A, "p1", "12:30"), (B, None, "12:30"), (A, 7, "x")],
        )
    connection.close()
    return f"sqlite:///{path}"


async def read(roster):
    return [
        (line.off_id.reveal(), line.local_ref)
        if isinstance(line, RosterEntry)
        else (line.where, line.problem)
        async for line in roster.entries()
    ]


@pytest.mark.parametrize("driver", ["sqlite", "sqlite+pysqlite", "sqlite+aiosqlite"])
async def test_reads_rows(url, driver):
    """Rows come as strings with their zeros, whether the driver is async or not."""
    roster = QueryRoster(
        url.replace("sqlite", driver, 1), "select fnr as OFF_ID, ref local_ref, seen from patient"
    )
    assert await read(roster) == [(A, "p1"), (B, None), (A, "7")]
    assert roster.unknown_columns == ("seen",)


async def test_a_colon_is_a_colon(url):
    """No part of the query is taken for a parameter."""
    query = "select fnr off_id from patient where seen = '12:30' or seen = ' :x' or 1 = :y::z"
    with pytest.raises(RosterError):
        await read(QueryRoster(url, query))
    query = "select fnr off_id from patient where seen = '12:30' or seen = ' :x'"
    assert await read(QueryRoster(url, query)) == [(A, None), (B, None)]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("2013299997", "the identifier must be 11 digits; 10 were found; a leading zero may "),
        ("null", "the identifier is empty"),
        ("1.5", "the identifier must be 11 digits; other characters were found"),
        ("'abc'", "the identifier must be 11 digits; other characters were found"),
    ],
)
async def test_a_bad_row_is_a_fault(url, value, problem):
    """A row that cannot serve is named by its number, without its value."""
    query = f"select * from (select {A} as off_id union all select {value})"
    found = await read(QueryRoster(url, query))
    assert (A, None) in found
    place, reported = next(line for line in found if line != (A, None))
    assert place in {"roster.query row 1", "roster.query row 2"}
    assert reported.startswith(problem)
    assert "2013299997" not in reported


@pytest.mark.promise("10")
@pytest.mark.parametrize("driver", ["sqlite", "sqlite+aiosqlite"])
async def test_a_bad_row_keeps_its_number_however_many_are_fetched_at_once(url, driver):
    """Rows are counted from the query's first; leaving early closes the connection."""
    bad = [2, 512, 513, 1024, 1025, 1_499]
    query = (
        "with recursive n(i) as (select 1 union all select i + 1 from n where i < 1500) "
        f"select case when i in ({', '.join(map(str, bad))}) then null else '{A}' end as off_id "
        "from n"
    )
    roster = QueryRoster(url.replace("sqlite", driver, 1), query)
    lines = [line async for line in roster.entries()]
    assert len(lines) == 1_500
    places = [line.where for line in lines if not isinstance(line, RosterEntry)]
    assert places == [f"roster.query row {number}" for number in bad]
    entries = roster.entries()
    assert isinstance(await anext(entries), RosterEntry)
    await entries.aclose()


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("select fnr, ref from patient", "roster.query has 2 columns, and none named off_id"),
        ("select 1 as off_id from patient where 0", "roster.query contains no identifier"),
        ("select nope from patient", "roster.query failed: OperationalError"),
        (f"select json('{A}x') as off_id", "roster.query failed: OperationalError"),
        ("update patient set ref = 'x'", "roster.query failed: ResourceClosedError"),
    ],
)
async def test_a_query_that_cannot_serve(url, query, message):
    """A failing query is named by its kind; the driver's text, which may hold values, is not."""
    for driver in ("sqlite", "sqlite+aiosqlite"):
        with pytest.raises(RosterError) as caught:
            await read(QueryRoster(url.replace("sqlite", driver, 1), query))
        assert caught.value.message.startswith(message)
        assert A not in str(caught.value)
    found = await read(QueryRoster(url, QUERY))
    assert found[0] == (A, "p1"), "nothing was written"


STRANGER = 4242
QUERY = "select fnr off_id, ref local_ref from patient"


@pytest.mark.promise("8")
@pytest.mark.parametrize("form", ["sqlite:///{}", URI])
async def test_a_sqlite_file_that_others_can_change(url, tmp_path, form):
    """Nor a journal beside it: it goes through the gate of ``test_trusted_files``."""
    path = tmp_path / "ehr.db"
    (tmp_path / "ehr.db-journal").touch()
    os.chown(tmp_path / "ehr.db-journal", STRANGER, -1)
    with pytest.raises(ConfigurationError, match=f"user .uid {STRANGER}") as caught:
        await read(QueryRoster(form.format(path), QUERY))
    assert caught.value.message.startswith("roster.url: ")


async def test_a_sqlite_file_that_does_not_exist(tmp_path):
    """A misspelled name is an error of the roster, and creates no file."""
    path = tmp_path / "misspelled.db"
    with pytest.raises(RosterError, match="cannot read the roster database"):
        await read(QueryRoster(f"sqlite:///{path}", QUERY))
    assert not path.exists()


@pytest.mark.parametrize("url", ["nonsense", "nosuch://u:hemmelig@h/x", "oracle://u:hemmelig@h/x"])
def test_a_url_that_cannot_serve(url):
    """No URL, no such dialect, no driver: faults of the configuration, without the password."""
    with pytest.raises(ConfigurationError) as caught:
        QueryRoster(url, "select 1")
    assert "hemmelig" not in str(caught.value)
    assert caught.value.hint
