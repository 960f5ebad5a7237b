"""Exports from real stores, read back from the files."""

import csv
import hashlib
import io
import re
import stat
import sys
import tracemalloc
from datetime import UTC, date, datetime

import orjson
import pytest
from sqlalchemy import text

from tests.report.support import key_of, safety, seen, small_store
from tests.store.test_erase import erase
from tests.store.test_store_scenarios import world_on
from worker.areas.reporting import Kind
from worker.errors import ConfigurationError, UsageError
from worker.report.export import export
from worker.report.sinks import CsvSink, Format
from worker.report.views import VIEWS, View

SAFE = "report_patient_safety_current"
WORDS = {"report_code", "report_dictionary"}
"""What the program says, whatever is stored."""


async def export_of(world, out, fmt, views=(), **options):
    return await export(world.database.read, out, fmt, views, now=world.fake.now(), **options)


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("fmt", list(Format))
async def test_every_view_becomes_a_private_file(database_url, tmp_path, fmt):
    """All views but the access log, mode 0600, with a manifest that proves each file."""
    async with world_on(database_url, our_clock=True) as world:
        await small_store(world)
        out = tmp_path / "made" / "here"
        manifest = await export_of(world, out, fmt)
        names = {f"{name}.{fmt}" for name in VIEWS if name != "report_access"}
        assert names | {"manifest.json"} == {path.name for path in out.iterdir()}
        assert {0o600} == {stat.S_IMODE(path.stat().st_mode) for path in out.iterdir()}
        said = orjson.loads((out / "manifest.json").read_bytes())
        assert (2, 2, False) == (said["run_id"], said["publication_no"], said["include_payload"])
        assert re.fullmatch(r"2026-03-29T22:18:\d\d\.\d{6}Z", said["published_at"])
        for file in said["files"]:
            content = (out / file["name"]).read_bytes()
            assert file["sha256"] == hashlib.sha256(content).hexdigest()
            assert file["bytes"] == len(content)
        amounts = {file.view: file.rows for file in manifest.files}
        assert (15, 3, 20, 2) == (
            amounts[SAFE],
            amounts["report_patient_privacy_current"],
            amounts["report_person_freshness"],
            amounts["report_run"],
        )


async def test_csv_cells(database_url, tmp_path):
    """Times are ISO 8601 UTC, booleans true and false, NULL is empty, payload is left out."""
    async with world_on(database_url, our_clock=True) as world:
        await small_store(world)
        await export_of(world, tmp_path, Format.CSV, ["patient_safety_current"])
        rows = {row["restriction_id"]: row for row in rows_of(tmp_path / f"{SAFE}.csv")}
        assert "payload" not in rows["s0"]
        assert ("NORN_FFL", "9999-12-31T23:59:59.999999Z", "true", "false") == (
            rows["s0"]["confidentiality_code"],
            rows["s0"]["delay_delivery_until"],
            rows["s0"]["delay_is_indefinite"],
            rows["s0"]["is_stale"],
        )
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
        lines = (tmp_path / f"{SAFE}.ndjson").read_bytes().splitlines()
        rows = {row["restriction_id"]: row for row in map(orjson.loads, lines)}
        assert (True, None, None) == (
            rows["s2"]["is_stale"],
            rows["s2"]["cause"],
            rows["s2"]["delay_days"],
        )
        assert "NORN_FFL" == orjson.loads(rows["s0"]["payload"])["confidentiality_code"]
        run = orjson.loads((tmp_path / "report_run.ndjson").read_bytes().splitlines()[0])
        assert (10, "[") == (run["persons_total"], run["areas"][0])


async def test_parquet_types(database_url, tmp_path):
    """Times are microseconds in UTC, counts 64 bits, days dates in Norway; the year 9999 fits."""
    import pyarrow as pa
    from pyarrow import parquet

    async with world_on(database_url, our_clock=True) as world:
        await small_store(world)
        await export_of(world, tmp_path, Format.PARQUET)
        table = parquet.ParquetFile(tmp_path / f"{SAFE}.parquet").read()
        kinds = {field.name: field.type for field in table.schema}
        assert (pa.timestamp("us", tz="UTC"), pa.bool_(), pa.int64(), pa.string()) == (
            kinds["delay_delivery_until"],
            kinds["is_stale"],
            kinds["delay_days"],
            kinds["restriction_id"],
        )
        rows = {row["restriction_id"]: row for row in table.to_pylist()}
        assert 9999 == rows["s0"]["delay_delivery_until"].year
        assert [True] == [row["is_stale"] for row in rows.values() if row["is_stale"]]
        days = parquet.ParquetFile(tmp_path / "report_daily_change.parquet").read().to_pylist()
        assert {date(2026, 3, 28), date(2026, 3, 30)} == {row["day"] for row in days}


async def test_what_changed_since_a_publication(database_url, tmp_path):
    """The change feed alone, in order; an erasure after that publication is in it."""
    async with world_on(database_url, our_clock=True) as world:
        await small_store(world)
        await erase(world, key_of(9))
        found = {}
        for since in (0, 1, 2):
            manifest = await export_of(world, tmp_path / str(since), Format.CSV, since=since)
            views = [file.view for file in manifest.files]
            assert (since, ["report_change_feed"]) == (manifest.since, views)
            rows = rows_of(tmp_path / str(since) / "report_change_feed.csv")
            found[since] = [(int(row["seq"]), row["publication_no"], row["op"]) for row in rows]
        assert sorted(found[0]) == found[0]
        assert {"1", "2"} == {number for _, number, _ in found[0]}
        assert [row for row in found[0] if row[1] == "2"] == found[1]
        assert ["close", "close", "update", "erase"] == [op for _, _, op in found[1]]
        assert found[1][-1:] == found[2]
        with pytest.raises(UsageError, match="by themselves"):
            await export_of(world, tmp_path, Format.CSV, ["run"], since=1)


async def test_an_empty_store_exports_headers(database_url, tmp_path):
    """Before the first publication the files have no rows and the manifest no run."""
    async with world_on(database_url, our_clock=True) as world:
        for fmt in Format:
            manifest = await export_of(world, tmp_path / fmt, fmt)
            has_rows = {file.view for file in manifest.files if file.rows}
            assert (None, None, WORDS) == (manifest.run_id, manifest.published_at, has_rows)
        assert [] == rows_of(tmp_path / "csv" / f"{SAFE}.csv")


async def test_cells_that_a_spreadsheet_would_run(tmp_path):
    """A leading apostrophe makes a formula text, and taking one away gives the value back."""
    view = View(name="v", columns={"a": Kind.TEXT, "n": Kind.INTEGER})
    values = ["=1+1", "+4", "-5", "@x", "\tx", "\rx", "'x", "\uff1d1", "", "x=1", 'a,"b"\nc', "æ"]
    stream = io.BytesIO()
    sink = CsvSink(stream, view, ["a", "n"])
    sink.write([(value, -1) for value in values])
    sink.close()
    rows = list(csv.reader(io.StringIO(stream.getvalue().decode(), newline="")))[1:]
    assert {"-1"} == {number for _, number in rows}
    assert values == [cell.removeprefix("'") for cell, _ in rows]
    assert not [cell for cell, _ in rows if cell[:1] in set("=+-@\t\r\uff1d") - {""} and cell]


@pytest.mark.parametrize("fmt", list(Format))
async def test_a_failed_export_leaves_the_old_one(database_url, tmp_path, fmt):
    """Files appear when all are whole; what stood there before stands until then."""
    async with world_on(database_url, our_clock=True) as world:
        await small_store(world)
        await export_of(world, tmp_path, fmt)
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

        def fail(view, _rows):
            if view == "report_run":
                raise RuntimeError("in the middle")

        with pytest.raises(RuntimeError, match="in the middle"):
            await export_of(world, tmp_path, fmt, wrote=fail)
        assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


async def test_the_files_belong_to_one_publication(database_url, tmp_path):
    """A run published in the middle of an export does not show in its later files."""
    async with world_on(database_url, our_clock=True) as world:
        await small_store(world)
        published: list[bool] = []

        async def read(work):
            async def late(connection):
                result = await connection.execute(text("SELECT count(*) FROM report_run"))
                result.scalar_one()
                return await work(connection)

            return await world.database.read(work if not published else late)

        class Publishing:
            """Publishes another run before the second view is streamed."""

            def __init__(self, connection):
                self._connection, self.dialect = connection, connection.dialect

            async def execute(self, *args, **options):
                result = await self._connection.execute(*args, **options)
                if not published and "publication_no" in str(args[0]):
                    published.append(True)
                    turn = await world.begin()
                    reads = [
                        seen(world, n, safety(f"z{n}", "X"), safety(f"s{n}", "N"))
                        for n in range(10)
                    ]
                    await turn.write(*reads)
                    await turn.publish(limits=_any())
                return result

            def stream(self, *args, **options):
                return self._connection.stream(*args, **options)

        async def interrupted(work):
            async def between(connection):
                return await work(Publishing(connection))

            return await read(between)

        manifest = await export(interrupted, tmp_path, Format.CSV, now=world.fake.now())
        assert [True] == published
        assert 2 == manifest.run_id
        assert ["1", "2"] == sorted(row["run_id"] for row in rows_of(tmp_path / "report_run.csv"))
        codes = {row["confidentiality_code"] for row in rows_of(tmp_path / f"{SAFE}.csv")}
        assert "X" not in codes


def _any():
    from worker.core.guard import GuardLimits

    return GuardLimits(max_removed_share=1.0, min_completeness=0.0, accept_removals=True)


async def test_memory_does_not_grow_with_the_rows(database_url, tmp_path):
    """Twelve thousand rows need no more memory than a portion of them."""
    async with world_on(database_url, our_clock=True) as world:
        turn = await world.begin()
        until = world.fake.now()
        for first in range(0, 3_000, 1_000):
            await turn.write(
                *(
                    seen(world, n, *(safety(f"{'k' * 40}{n}-{i}", "NORU", until) for i in range(4)))
                    for n in range(first, first + 1_000)
                )
            )
        await turn.publish()
        tracemalloc.start()
        try:
            await export_of(world, tmp_path, Format.CSV, [SAFE])
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert 12_000 == len(rows_of(tmp_path / f"{SAFE}.csv"))
        assert peak < 7_000_000


async def test_parquet_without_its_library(database_url, tmp_path):
    """The message names what to install, before anything is written."""
    hidden = {name: module for name, module in sys.modules.items() if name.startswith("pyarrow")}
    sys.modules["pyarrow"] = None  # type: ignore[assignment]
    try:
        async with world_on(database_url, our_clock=True) as world:
            with pytest.raises(ConfigurationError) as caught:
                await export_of(world, tmp_path / "out", Format.PARQUET)
    finally:
        del sys.modules["pyarrow"]
        sys.modules.update(hidden)
    assert "pip install pts-sync-worker[parquet]" == caught.value.hint
    assert not (tmp_path / "out").exists()


async def test_faults_are_named(database_url, tmp_path):
    """A wrong view is a wrong call; a folder that is a file is told as such, at once."""
    (tmp_path / "file").write_text("x")
    async with world_on(database_url, our_clock=True) as world:
        with pytest.raises(UsageError, match="no reporting view"):
            await export_of(world, tmp_path / "out", Format.CSV, ["nothing"])
        with pytest.raises(ConfigurationError, match="cannot be written"):
            await export_of(world, tmp_path / "file", Format.CSV)
        assert [] == world.fake.waits_s
