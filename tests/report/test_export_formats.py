"""How values stand in each format of an export."""

import sys
from datetime import UTC, date, datetime

import pytest

from tests.support.made_databases import BOTH
from tests.support.report.exports import SAFE, export_of, only, rows_of, typed_rows_of
from tests.support.report.stores import small_store
from tests.support.store_world import world_on
from worker.errors import ConfigurationError
from worker.report.formats import FORMATS
from worker.views import view_columns

WORDS = {"report_code", "report_dictionary"}
"""What the program says, whatever is stored."""


@pytest.mark.parametrize("database_url", BOTH, indirect=True)
async def test_how_values_stand_in_each_format(database_url, tmp_path):
    """One row as CSV and Parquet have it: times in UTC, booleans, no value, the year 9999.

    Days are those of Norway.
    """
    import pyarrow as pa
    from pyarrow import parquet

    found = {}
    read = {"csv": rows_of, "parquet": typed_rows_of}
    async with world_on(database_url, our_clock=True) as world:
        await small_store(world)
        for fmt in FORMATS:
            views = [SAFE, "run", "daily"]
            await export_of(world, tmp_path, fmt, views)
            rows = read[fmt](only(tmp_path, SAFE, fmt))
            found[fmt] = {row["restriction_id"]: row for row in rows}
            if fmt == "parquet":
                field = parquet.read_schema(only(tmp_path, SAFE, fmt)).field("is_stale")
                (column,) = (one for one in view_columns()[SAFE] if one.name == field.name)
                assert field.metadata[b"meaning_en"].decode() == column.en
                run = typed_rows_of(only(tmp_path, "report_run", fmt))[0]
                assert (run["persons_total"], run["areas"][0]) == (10, "[")
    last = datetime.max.replace(tzinfo=UTC)
    columns = ("delay_delivery_until", "delay_is_indefinite", "is_stale", "cause", "delay_days")
    shown = {
        fmt: [tuple(map(rows[key].get, columns)) for key in ("s0", "s2")]
        for fmt, rows in found.items()
    }
    assert {fmt: first for fmt, (first, _) in shown.items()} == {
        "csv": ("9999-12-31T23:59:59.999999Z", "true", "false", "", ""),
        "parquet": (last, True, False, None, None),
    }
    assert {fmt: second[2:] for fmt, (_, second) in shown.items()} == {
        "csv": ("true", "", ""),
        "parquet": (True, None, None),
    }
    schema = parquet.read_schema(only(tmp_path, SAFE, "parquet"))
    assert {
        name: schema.field(name).type for name in (*columns[:3], "delay_days", "person_key")
    } == {
        "delay_delivery_until": pa.timestamp("us", tz="UTC"),
        "delay_is_indefinite": pa.bool_(),
        "is_stale": pa.bool_(),
        "delay_days": pa.int64(),
        "person_key": pa.string(),
    }
    days = {row["day"] for row in typed_rows_of(only(tmp_path, "report_daily", "parquet"))}
    assert days == {date(2026, 3, 28), date(2026, 3, 30)}


async def test_an_empty_store_exports_headers(sqlite_url, tmp_path):
    """Before the first publication the files have no rows and the manifest no run."""
    async with world_on(sqlite_url) as world:
        for fmt in FORMATS:
            manifest = await export_of(world, tmp_path / fmt, fmt)
            has_rows = {view.name for view in manifest.views if view.rows}
            assert (manifest.run_id, manifest.published_at, has_rows) == (None, None, WORDS)
        assert rows_of(only(tmp_path / "csv", SAFE, "csv", night="publication-0")) == []


async def test_parquet_without_its_library(sqlite_url, tmp_path):
    """The message names what to install, before anything is written."""
    hidden = {name: module for name, module in sys.modules.items() if name.startswith("pyarrow")}
    sys.modules["pyarrow"] = None  # type: ignore[assignment]
    try:
        async with world_on(sqlite_url) as world:
            with pytest.raises(ConfigurationError) as caught:
                await export_of(world, tmp_path / "out", "parquet")
    finally:
        del sys.modules["pyarrow"]
        sys.modules.update(hidden)
    assert caught.value.hint == "pip install pts-sync-worker[parquet]"
    assert not (tmp_path / "out").exists()
