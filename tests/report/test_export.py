"""Exports from real stores, read back from the files."""

import csv
import dataclasses
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
from tests.store.world import world_on
from worker import __version__
from worker.areas.reporting import KEYS
from worker.areas.words import Kind
from worker.errors import ConfigurationError, UsageError
from worker.report.export import Options, export
from worker.report.sinks import CsvSink, Format, Shape
from worker.views import VIEWS

SAFE = "report_patient_safety_current"
NIGHT = "publication_no=2"
"""The folder of ``small_store``'s last publication."""
AREA = {
    f"report_patient_{name}_{what}": f"area=patient-{name}/{what}"
    for name in ("safety", "privacy")
    for what in ("current", "history")
}
FEEDS = ["patient-safety", "patient-privacy", "__HIVE_DEFAULT_PARTITION__"]
"""The areas that divide the change feed; the last is for what is about a person."""
WORDS = {"report_code", "report_dictionary"}
"""What the program says, whatever is stored."""


async def export_of(world, out, fmt, views=(), *, read=None, wrote=lambda *_: None, **options):
    return await export(
        read or world.database.read,
        out,
        Options(format=fmt, views=views, **options),
        now=world.fake.now(),
        schema_revision="0001",
        wrote=wrote,
    )


def only(out, view, ending, *, night=NIGHT):
    """The one file of a view."""
    (path,) = (out / night / AREA.get(view, view)).glob(f"part-*.{ending}")
    return path


def rows_of(*paths):
    rows: list[dict[str, str]] = []
    for path in paths:
        with path.open(encoding="utf-8", newline="") as stream:
            rows += csv.DictReader(stream)
    return rows


def contents(out):
    """Every file below a folder by its name."""
    return {
        str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()
    }


def data_of(out):
    """The same without the manifest, which holds the time of the export."""
    return {name: data for name, data in contents(out).items() if "_manifest" not in name}


@pytest.mark.parametrize("fmt", list(Format))
async def test_every_view_becomes_a_private_file(database_url, tmp_path, fmt):
    """All views but the access log, mode 0600, with a manifest that proves each file."""
    async with world_on(database_url, our_clock=True) as world:
        await small_store(world)
        out = tmp_path / "made" / "here"
        manifest = await export_of(world, out, fmt)
        folders = {f"{NIGHT}/{AREA.get(name, name)}" for name in VIEWS if name != "report_access"}
        feeds = [f"{NIGHT}/area={area}/feed" for area in FEEDS]
        folders = folders - {f"{NIGHT}/report_change_feed"} | set(feeds)
        files = {f"{folder}/part-00000.{fmt}" for folder in folders}
        if fmt is Format.NDJSON:
            files |= {f"{folder}/schema.json" for folder in folders}
        assert {*files, f"{NIGHT}/_manifest.json", "_LATEST"} == set(contents(out))
        found = {path: stat.S_IMODE(path.stat().st_mode) for path in [out, *out.rglob("*")]}
        assert {path: 0o700 if path.is_dir() else 0o600 for path in found} == found
        assert f"{NIGHT}\n" == (out / "_LATEST").read_text()
        said = orjson.loads((out / NIGHT / "_manifest.json").read_bytes())
        assert (2, 2, False) == (said["run_id"], said["publication_no"], said["include_payload"])
        assert (__version__, "0001") == (said["worker_version"], said["schema_revision"])
        assert re.fullmatch(r"2026-03-29T22:18:\d\d\.\d{6}Z", said["published_at"])
        for file in said["files"]:
            content = (out / NIGHT / file["name"]).read_bytes()
            assert file["sha256"] == hashlib.sha256(content).hexdigest()
            assert file["bytes"] == len(content)
        current = next(view for view in said["views"] if view["name"] == SAFE)
        assert ("area=patient-safety/current", 15) == (current["folder"], current["rows"])
        assert {"name": "is_stale", "type": "boolean"} in current["columns"]
        amounts = {view.name: view.rows for view in manifest.views}
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
        rows = {row["restriction_id"]: row for row in rows_of(only(tmp_path, SAFE, "csv"))}
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
        lines = only(tmp_path, SAFE, "ndjson").read_bytes().splitlines()
        rows = {row["restriction_id"]: row for row in map(orjson.loads, lines)}
        assert (True, None, None) == (
            rows["s2"]["is_stale"],
            rows["s2"]["cause"],
            rows["s2"]["delay_days"],
        )
        assert "NORN_FFL" == orjson.loads(rows["s0"]["payload"])["confidentiality_code"]
        run = orjson.loads(only(tmp_path, "report_run", "ndjson").read_bytes().splitlines()[0])
        assert (10, "[") == (run["persons_total"], run["areas"][0])


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
        assert 9999 == rows["s0"]["delay_delivery_until"].year
        assert [True] == [row["is_stale"] for row in rows.values() if row["is_stale"]]
        days = (
            parquet.ParquetFile(only(tmp_path, "report_daily_change", "parquet")).read().to_pylist()
        )
        assert {date(2026, 3, 28), date(2026, 3, 30)} == {row["day"] for row in days}


async def test_what_changed_since_a_publication(database_url, tmp_path):
    """The change feed alone, in order; an erasure after that publication is in it."""
    async with world_on(database_url, our_clock=True) as world:
        await small_store(world)
        await erase(world, key_of(9))
        found = {}
        for since in (0, 1, 2):
            manifest = await export_of(world, tmp_path / str(since), Format.CSV, since=since)
            folders = [view.folder for view in manifest.views]
            assert (since, [f"area={area}/feed" for area in FEEDS]) == (manifest.since, folders)
            rows = {}
            for area in FEEDS:
                path = tmp_path / str(since) / NIGHT / f"area={area}" / "feed" / "part-00000.csv"
                rows[area] = [
                    (int(row["seq"]), row["publication_no"], row["op"]) for row in rows_of(path)
                ]
                assert sorted(rows[area]) == rows[area]
            assert {"erase"} == {op for *_, op in rows[FEEDS[-1]]}
            found[since] = sorted(row for of_area in rows.values() for row in of_area)
        assert {"1", "2"} == {number for _, number, _ in found[0]}
        assert [row for row in found[0] if row[1] == "2"] == found[1]
        assert ["close", "close", "update", "erase"] == [op for _, _, op in found[1]]
        assert found[1][-1:] == found[2]
        with pytest.raises(UsageError, match="by themselves"):
            await export_of(world, tmp_path, Format.CSV, ["run"], since=1)
        with pytest.raises(UsageError, match="publication 3 does not exist; the last one is 2"):
            await export_of(world, tmp_path / "3", Format.CSV, since=3)
        assert [] == list((tmp_path / "3").iterdir()), "nothing is left of it"


async def test_an_empty_store_exports_headers(database_url, tmp_path):
    """Before the first publication the files have no rows and the manifest no run."""
    async with world_on(database_url, our_clock=True) as world:
        for fmt in Format:
            manifest = await export_of(world, tmp_path / fmt, fmt)
            has_rows = {file.view for file in manifest.files if file.rows}
            assert (None, None, WORDS) == (manifest.run_id, manifest.published_at, has_rows)
        assert [] == rows_of(only(tmp_path / "csv", SAFE, "csv", night="publication_no=0"))


async def test_cells_that_a_spreadsheet_would_run(tmp_path):
    """A leading apostrophe makes a formula text, and taking one away gives the value back."""
    shape = Shape(format=Format.CSV, columns={"a": Kind.TEXT, "n": Kind.INTEGER})
    values = ["=1+1", "+4", "-5", "@x", "\tx", "'x", "\uff1d1", "", "x=1", 'a,"b"\nc', "æ"]
    stream = io.BytesIO()
    sink = CsvSink(stream, shape)
    sink.write([(value, -1) for value in values])
    sink.close()
    rows = list(csv.reader(io.StringIO(stream.getvalue().decode(), newline="")))[1:]
    assert {"-1"} == {number for _, number in rows}
    assert values == [cell.removeprefix("'") for cell, _ in rows]
    assert not [cell for cell, _ in rows if cell[:1] in set("=+-@\t\r\uff1d") - {""} and cell]


@pytest.mark.parametrize("fmt", list(Format))
async def test_the_same_publication_gives_the_same_bytes(database_url, tmp_path, fmt):
    """However late it is exported, though a delay has ended since and an episode grown longer."""
    async with world_on(database_url, our_clock=True) as world:
        await small_store(world)
        one = await export_of(world, tmp_path / "one", fmt, include_payload=True)
        world.fake.advance(40 * 86_400)
        two = await export_of(world, tmp_path / "two", fmt, include_payload=True)
        assert data_of(tmp_path / "one") == data_of(tmp_path / "two")
        assert one.exported_at < two.exported_at
        assert one == dataclasses.replace(two, exported_at=one.exported_at)
        await export_of(world, tmp_path / "csv", Format.CSV)
    rows = rows_of(only(tmp_path / "csv", SAFE, "csv"))
    counted = rows_of(only(tmp_path / "csv", "report_daily", "csv"))
    expected = sum(
        int(row["in_effect"])
        for row in counted
        if (row["publication_no"], row["area"]) == ("2", "patient-safety")
    )
    assert expected == [row["is_in_effect"] for row in rows].count("true") > 0
    episodes = rows_of(only(tmp_path / "csv", "report_episode", "csv"))
    assert {"1"} == {row["days"] for row in episodes if not row["ended_at"]} - {"0"}


async def test_rows_are_in_the_order_of_the_primary_key(database_url, tmp_path):
    """By the bytes of a text, whatever the database's locale; no two rows have one key."""
    async with world_on(database_url, our_clock=True) as world:
        turn = await world.begin()
        keys = ["b", "B", "a-1", "a1", "a 2", "å", "z", "Z-"]
        await turn.write(seen(world, 0, *(safety(key, "N") for key in keys)), seen(world, 1))
        await turn.publish()
        manifest = await export_of(world, tmp_path, Format.NDJSON)
    first = tmp_path / manifest.folder
    for view in manifest.views:
        (path,) = (first / view.folder).glob("*.ndjson")
        rows = [orjson.loads(line) for line in path.read_bytes().splitlines()]
        found = [tuple(row[name] for name in view.order) for row in rows]
        assert (KEYS[view.name], sorted(set(found))) == (tuple(view.order), found), view.name
    lines = only(tmp_path, SAFE, "ndjson", night=manifest.folder).read_bytes().splitlines()
    assert sorted(keys) == [orjson.loads(line)["restriction_id"] for line in lines]


@pytest.mark.parametrize("fmt", [Format.CSV, Format.NDJSON])
async def test_a_large_view_is_divided(sqlite_url, tmp_path, fmt):
    """Parts of a bounded size, each with a header, in one order."""
    async with world_on(sqlite_url, our_clock=True) as world:
        await world.publish(
            *(seen(world, n, *(safety(f"{n}-{i}", "N") for i in range(9))) for n in range(900))
        )
        manifest = await export_of(world, tmp_path, fmt, [SAFE], part_bytes_max=1)
    (view,) = manifest.views
    names = [f"area=patient-safety/current/part-{n:05}.{fmt}" for n in range(5)]
    files = [file for file in manifest.files if "part-" in file.name]
    assert (names, 8_100) == ([file.name for file in files], view.rows)
    assert [2_000] * 4 + [100] == [file.rows for file in files]
    paths = [tmp_path / manifest.folder / name for name in names]
    rows = (
        rows_of(*paths)
        if fmt is Format.CSV
        else [orjson.loads(line) for path in paths for line in path.read_bytes().splitlines()]
    )
    found = [(row["person_key"], row["restriction_id"]) for row in rows]
    assert (8_100, sorted(found)) == (len(set(found)), found)


async def test_a_used_folder_keeps_nothing_of_the_same_publication(database_url, tmp_path):
    """Another format, fewer views: what was there goes; other publications stay."""
    out = tmp_path / "out"
    async with world_on(database_url, our_clock=True) as world:
        await small_store(world)
        await export_of(world, out, Format.CSV)
        await export_of(world, out, Format.NDJSON, ["run"])
        files = {f"report_run/{name}" for name in ("part-00000.ndjson", "schema.json")}
        expected = {*files, "_manifest.json"}
        assert expected == set(contents(out / NIGHT))
        kept = contents(out / NIGHT)
        await world.publish(*(seen(world, n) for n in range(10)), limits=_any())
        await export_of(world, out, Format.CSV, ["run"])
        assert kept == contents(out / NIGHT)
    names = {path.name for path in out.iterdir()}
    assert {NIGHT, "publication_no=3", "_LATEST"} == names
    assert "publication_no=3\n" == (out / "_LATEST").read_text()


async def test_a_folder_of_others_is_not_replaced(sqlite_url, tmp_path):
    """Something that has the name and no manifest is left alone."""
    out = tmp_path / "out"
    async with world_on(sqlite_url, our_clock=True) as world:
        await small_store(world)
        (out / NIGHT).mkdir(parents=True)
        (out / NIGHT / "thesis.txt").write_text("x")
        with pytest.raises(ConfigurationError, match="it is no export"):
            await export_of(world, out, Format.CSV)
    assert {f"{NIGHT}/thesis.txt": b"x"} == contents(out)


@pytest.mark.parametrize("fmt", list(Format))
async def test_a_failed_export_leaves_the_old_one(database_url, tmp_path, fmt):
    """Files appear when all are whole; what stood there before stands until then."""
    out = tmp_path / "out"
    async with world_on(database_url, our_clock=True) as world:
        await small_store(world)
        await export_of(world, out, fmt)
        before = contents(out)

        def fail(view, _rows):
            if view == "report_run":
                raise RuntimeError("in the middle")

        with pytest.raises(RuntimeError, match="in the middle"):
            await export_of(world, out, fmt, wrote=fail)
        assert before == contents(out)
        assert {NIGHT, "_LATEST"} == {path.name for path in out.iterdir()}


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

        manifest = await export_of(world, tmp_path, Format.CSV, read=interrupted)
        assert [True] == published
        assert 2 == manifest.run_id
        runs = rows_of(only(tmp_path, "report_run", "csv"))
        assert ["1", "2"] == [row["run_id"] for row in runs]
        codes = {row["confidentiality_code"] for row in rows_of(only(tmp_path, SAFE, "csv"))}
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
        assert 12_000 == len(rows_of(only(tmp_path, SAFE, "csv", night="publication_no=1")))
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
        with pytest.raises(ConfigurationError, match="is a file"):
            await export_of(world, tmp_path / "file", Format.CSV)
        assert [] == world.fake.waits_s
