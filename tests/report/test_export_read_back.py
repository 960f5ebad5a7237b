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
from worker.areas.meanings import view_columns
from worker.core.escaping import csv_cell
from worker.report.sinks import Format

pytestmark = [pytest.mark.promise("2"), pytest.mark.nightly]

DAILY = "report_daily"
ORDER = ["publication_no", "area", "code", "level", "cause", "cohort"]


async def both(world, out):
    """The same store as Parquet and as CSV."""
    await small_store(world)
    for fmt in (Format.PARQUET, Format.CSV):
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
    return pl.read_parquet(path, hive_partitioning=False).to_dicts()


def by_pandas(path):
    frame = pd.read_parquet(path, partitioning=None, dtype_backend="pyarrow")
    return frame.astype(object).where(frame.notna(), None).to_dict("records")


def by_duckdb(path):
    rows, names = asked(f"SELECT * FROM read_parquet('{path}', hive_partitioning = false)")
    return [dict(zip(names, row, strict=True)) for row in rows]


def asked(query):
    """The rows of a query to DuckDB, and the names of their columns."""
    with duckdb.connect() as database:
        database.execute("SET TimeZone = 'UTC'")
        found = database.execute(query)
        return found.fetchall(), [column[0] for column in found.description or ()]


READERS = (by_pyarrow, by_polars, by_pandas, by_duckdb)


async def test_four_readers_see_the_same(sqlite_url, tmp_path):
    """Every row and value of Parquet, in its order, is that of CSV.

    A reader of folders finds the area, and NULL for what is about a person. Unasked, DuckDB takes
    the publication from the folder, as the document says. Fields have their words.
    """
    async with world_on(sqlite_url) as world:
        await both(world, tmp_path)
        await export_of(world, tmp_path / "feed", Format.PARQUET, since=0)
    for view in (SAFE, "report_patient_safety_history", DAILY, "report_person_freshness"):
        expected = rows_of(only(tmp_path / "csv", view, "csv"))
        path = only(tmp_path / "parquet", view, "parquet")
        assert expected
        for read in READERS:
            assert as_cells(read(path)) == expected, (view, read.__name__)
    folders = f"read_parquet('{tmp_path}/parquet/*/*/current/*.parquet', hive_partitioning = true)"
    by_area, _ = asked(
        f"SELECT publication_no, area, count(*) FROM {folders} GROUP BY ALL ORDER BY 2"
    )
    assert by_area == [(2, "patient-privacy", 3), (2, "patient-safety", 15)]
    feed = f"read_parquet('{tmp_path}/feed/*/*/feed/*.parquet', hive_partitioning = false)"
    assert asked(f"SELECT DISTINCT area FROM {feed} ORDER BY 1")[0] == [
        ("patient-privacy",),
        ("patient-safety",),
    ]
    path = only(tmp_path / "parquet", DAILY, "parquet")
    query = f"SELECT DISTINCT publication_no FROM read_parquet('{path}'{{}}) ORDER BY 1"
    assert asked(query.format(""))[0] == [(2,)]
    assert asked(query.format(", hive_partitioning = false"))[0] == [(1,), (2,)]
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
        words = {
            "meaning_nb": column.nb,
            "meaning_en": column.en,
            "unit": column.unit,
        }
        assert said == {name: text for name, text in words.items() if text}


async def test_parts_are_one_table(sqlite_url, tmp_path):
    """Parquet ends a part with the row group that reaches the limit; readers put them back."""
    async with world_on(sqlite_url) as world:
        await small_store(world)
        await world.rows_written(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 120000) "
            "INSERT INTO publication_code SELECT 1, 'patient-safety', 'C' || i, '', '', '', NULL, "
            "i, 0, 0, 0, 0, 1, 0 FROM n"
        )
        manifest = await export_of(
            world, tmp_path, Format.PARQUET, ["daily"], part_bytes_max=100_000
        )
    (view,) = manifest.views
    folder = tmp_path / manifest.folder / view.folder
    names = [f"{view.folder}/part-{number:05}.parquet" for number in range(3)]
    assert [file.name for file in manifest.files] == names
    first, second, last = (file.rows for file in manifest.files)
    assert first == second >= 50_000 > last
    codes = parquet.ParquetDataset(folder, partitioning=None).read()["code"].to_pylist()
    assert len(codes) == view.rows > 120_000
    pattern = str(folder / "*.parquet")
    assert pl.read_parquet(pattern, hive_partitioning=False)["code"].to_list() == codes
    assert pd.read_parquet(folder, partitioning=None)["code"].to_list() == codes
    rows, _ = asked(f"SELECT code FROM read_parquet('{pattern}', hive_partitioning = false)")
    assert [code for (code,) in rows] == codes
