"""Exports in the hands of those who read them: pyarrow, DuckDB, Polars, pandas."""

from datetime import UTC, datetime

import duckdb
import pandas as pd
import polars as pl
import pytest
from pyarrow import parquet

from tests.support.report.exports import SAFE, export_of, only, rows_of
from tests.support.report.stores import small_store
from tests.support.store_world import world_on
from worker.core.display import csv_cell
from worker.views import view_columns

pytestmark = [pytest.mark.promise("2"), pytest.mark.nightly]

DAILY = "report_daily"
ORDER = ["publication_no", "area", "code", "level", "cause", "cohort"]


async def both(world, out):
    """The same store as Parquet and as CSV."""
    await small_store(world)
    for fmt in ("parquet", "csv"):
        await export_of(world, out / fmt, fmt)


def as_cells(rows):
    """Rows of typed values as CSV has them."""
    return [{name: as_cell(value) for name, value in row.items()} for row in rows]


def as_cell(value):
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case datetime():
            return value.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"
        case str():
            return csv_cell(value)
        case _:
            return str(value)


def by_pyarrow(path):
    return parquet.ParquetFile(path).read().to_pylist()


def by_polars(path):
    return pl.read_parquet(path).to_dicts()


def by_pandas(path):
    frame = pd.read_parquet(path, dtype_backend="pyarrow")
    return frame.astype(object).where(frame.notna(), None).to_dict("records")


def by_duckdb(path):
    rows, names = asked(f"SELECT * FROM read_parquet('{path}')")
    return [dict(zip(names, row, strict=True)) for row in rows]


def asked(query):
    """The rows of a query to DuckDB, and the names of their columns."""
    with duckdb.connect() as database:
        database.execute("SET TimeZone = 'UTC'")
        found = database.execute(query)
        return found.fetchall(), [column[0] for column in found.description or ()]


READERS = (by_pyarrow, by_polars, by_pandas, by_duckdb)


async def test_four_readers_see_the_same(sqlite_url, tmp_path):
    """Every row and value of Parquet, in its order, is that of CSV. Fields have their words.

    No folder hides a column: DuckDB asks a file for its publications without being told to.
    """
    async with world_on(sqlite_url) as world:
        await both(world, tmp_path)
    for view in (SAFE, "report_patient_safety_history", DAILY, "report_person_freshness"):
        expected = rows_of(only(tmp_path / "csv", view, "csv"))
        path = only(tmp_path / "parquet", view, "parquet")
        assert expected
        for read in READERS:
            assert as_cells(read(path)) == expected, (view, read.__name__)
    numbers = (
        f"SELECT DISTINCT publication_no FROM '{tmp_path}/parquet/*/{DAILY}.parquet' ORDER BY 1"
    )
    assert asked(numbers)[0] == [(1,), (2,)]
    for view in (SAFE, DAILY):
        assert_words(view, parquet.read_schema(only(tmp_path / "parquet", view, "parquet")))


def assert_words(view, schema):
    """Meaning in two languages, and unit, as the dictionary has them."""
    for column in view_columns()[view]:
        said = {
            name.decode(): text.decode()
            for name, text in (schema.field(column.name).metadata or {}).items()
            if name.decode() != "PARQUET:field_id"
        }
        words = {"meaning_nb": column.nb, "meaning_en": column.en, "unit": column.unit}
        assert said == {name: text for name, text in words.items() if text}
