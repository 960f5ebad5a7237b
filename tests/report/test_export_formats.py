"""How values stand in each format of an export."""

import csv
import io
import sys
import tracemalloc
from datetime import UTC, date, datetime

import orjson
import pytest

from tests.support.report.exports import SAFE, export_of, lines_of, only, rows_of
from tests.support.report.stores import key_of, safety, seen, small_store
from tests.support.store_world import world_on
from worker.areas.words import Kind
from worker.errors import ConfigurationError
from worker.report.sinks import CsvSink, Format, Shape

WORDS = {"report_code", "report_dictionary"}
"""What the program says, whatever is stored."""


async def test_csv_cells(database_url, tmp_path):
    """Times are ISO 8601 UTC, booleans true and false, NULL is empty, payload is left out."""
    async with world_on(database_url, our_clock=True) as world:
        await small_store(world)
        await export_of(world, tmp_path, Format.CSV, ["patient_safety_current"])
        rows = {row["restriction_id"]: row for row in rows_of(only(tmp_path, SAFE, "csv"))}
        assert "payload" not in rows["s0"]
        assert (
            rows["s0"]["confidentiality_code"],
            rows["s0"]["delay_delivery_until"],
            rows["s0"]["delay_is_indefinite"],
            rows["s0"]["is_stale"],
        ) == ("NORN_FFL", "9999-12-31T23:59:59.999999Z", "true", "false")
        assert ("true", "", "R-2", key_of(2)) == (
            rows["s2"]["is_stale"],
            rows["s2"]["cause"],
            rows["s2"]["local_ref"],
            rows["s2"]["person_key"],
        )
        assert datetime.fromisoformat(rows["s0"]["first_seen_at"]).tzinfo == UTC


async def test_ndjson_lines(database_url, tmp_path):
    """One object a line with real types, NULL as null, JSON columns as text."""
    async with world_on(database_url, our_clock=True) as world:
        await small_store(world)
        views = ["patient_safety_current", "run", "daily_change"]
        await export_of(world, tmp_path, Format.NDJSON, views, include_payload=True)
        rows = {row["restriction_id"]: row for row in lines_of(only(tmp_path, SAFE, "ndjson"))}
        assert (
            rows["s2"]["is_stale"],
            rows["s2"]["cause"],
            rows["s2"]["delay_days"],
        ) == (True, None, None)
        assert orjson.loads(rows["s0"]["payload"])["confidentiality_code"] == "NORN_FFL"
        run = lines_of(only(tmp_path, "report_run", "ndjson"))[0]
        assert (run["persons_total"], run["areas"][0]) == (10, "[")


async def test_parquet_types(database_url, tmp_path):
    """Times are microseconds in UTC, counts 64 bits, days dates in Norway; the year 9999 fits."""
    import pyarrow as pa
    from pyarrow import parquet

    async with world_on(database_url, our_clock=True) as world:
        await small_store(world)
        await export_of(world, tmp_path, Format.PARQUET)
        table = parquet.ParquetFile(only(tmp_path, SAFE, "parquet")).read()
        kinds = {field.name: field.type for field in table.schema}
        assert (pa.timestamp("us", tz="UTC"), pa.bool_(), pa.int64(), pa.string()) == (
            kinds["delay_delivery_until"],
            kinds["is_stale"],
            kinds["delay_days"],
            kinds["restriction_id"],
        )
        rows = {row["restriction_id"]: row for row in table.to_pylist()}
        assert rows["s0"]["delay_delivery_until"].year == 9999
        assert [row["is_stale"] for row in rows.values() if row["is_stale"]] == [True]
        days = (
            parquet.ParquetFile(only(tmp_path, "report_daily_change", "parquet")).read().to_pylist()
        )
        assert {row["day"] for row in days} == {date(2026, 3, 28), date(2026, 3, 30)}


async def test_cells_that_a_spreadsheet_would_run(tmp_path):
    """A leading apostrophe makes a formula text, and taking one away gives the value back."""
    shape = Shape(format=Format.CSV, columns={"a": Kind.TEXT, "n": Kind.INTEGER})
    values = ["=1+1", "+4", "-5", "@x", "\tx", "'x", "\uff1d1", "", "x=1", 'a,"b"\nc', "æ"]
    stream = io.BytesIO()
    sink = CsvSink(stream, shape)
    sink.write([(value, -1) for value in values])
    sink.close()
    rows = list(csv.reader(io.StringIO(stream.getvalue().decode(), newline="")))[1:]
    assert {number for _, number in rows} == {"-1"}
    assert values == [cell.removeprefix("'") for cell, _ in rows]
    assert not [cell for cell, _ in rows if cell[:1] in set("=+-@\t\r\uff1d") - {""} and cell]


async def test_an_empty_store_exports_headers(database_url, tmp_path):
    """Before the first publication the files have no rows and the manifest no run."""
    async with world_on(database_url, our_clock=True) as world:
        for fmt in Format:
            manifest = await export_of(world, tmp_path / fmt, fmt)
            has_rows = {file.view for file in manifest.files if file.rows}
            assert (manifest.run_id, manifest.published_at, has_rows) == (None, None, WORDS)
        assert rows_of(only(tmp_path / "csv", SAFE, "csv", night="publication_no=0")) == []


async def test_parquet_without_its_library(sqlite_url, tmp_path):
    """The message names what to install, before anything is written."""
    hidden = {name: module for name, module in sys.modules.items() if name.startswith("pyarrow")}
    sys.modules["pyarrow"] = None  # type: ignore[assignment]
    try:
        async with world_on(sqlite_url, our_clock=True) as world:
            with pytest.raises(ConfigurationError) as caught:
                await export_of(world, tmp_path / "out", Format.PARQUET)
    finally:
        del sys.modules["pyarrow"]
        sys.modules.update(hidden)
    assert caught.value.hint == "pip install pts-sync-worker[parquet]"
    assert not (tmp_path / "out").exists()


async def test_memory_does_not_grow_with_the_rows(database_url, tmp_path):
    """Twelve thousand rows need no more memory than a portion of them."""
    async with world_on(database_url, our_clock=True) as world:
        until = world.fake.now()
        await world.publish(
            *(
                seen(world, n, *(safety(f"{'k' * 40}{n}-{i}", "NORU", until) for i in range(80)))
                for n in range(150)
            )
        )
        tracemalloc.start()
        try:
            await export_of(world, tmp_path, Format.CSV, [SAFE])
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert len(rows_of(only(tmp_path, SAFE, "csv", night="publication_no=1"))) == 12_000
        assert peak < 7_000_000
