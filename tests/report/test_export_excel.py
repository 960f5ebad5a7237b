"""CSV for Excel in Norwegian."""

import csv
import io
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from tests.support.report.exports import SAFE, contents, export_of, only
from tests.support.report.stores import small_store
from tests.support.store_world import world_on
from worker.areas import AREAS
from worker.areas.codes import code_systems, codes
from worker.areas.meanings import Kind, view_columns
from worker.core.times import END_OF_TIME, START_OF_TIME
from worker.errors import UsageError
from worker.report.sinks import Dialect, Format, Shape, open_sink


def written(columns, *rows):
    shape = Shape(format=Format.CSV, columns=columns, dialect=Dialect.EXCEL_NB)
    stream = io.BytesIO()
    sink = open_sink(stream, shape)
    sink.write(rows)
    sink.close()
    return stream.getvalue()


def cells(content):
    text = content.decode("utf-8-sig")
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=";"))


async def test_what_excel_opens(sqlite_url, tmp_path):
    """A mark, semicolons, Oslo time and names of codes, in every view of a real store."""
    async with world_on(sqlite_url) as world:
        await small_store(world)
        await export_of(world, tmp_path / "p", Format.CSV, [SAFE])
        manifest = await export_of(world, tmp_path / "x", Format.CSV, dialect=Dialect.EXCEL_NB)
    files = {name: data for name, data in contents(tmp_path / "x").items() if "part" in name}
    assert len(files) == len(manifest.files)
    assert all(data.startswith(b"\xef\xbb\xbf") for data in files.values())
    view = next(view for view in manifest.views if view.name == SAFE)
    header, *rows = cells(only(tmp_path / "x", SAFE, "csv").read_bytes())
    assert header == [column.name for column in view.columns]
    place = header.index("confidentiality_code")
    assert header[place + 1] == "confidentiality_code_name"
    names = {code.code: code.name_nb for code in codes() if code.system == "9603"}
    assert {row[place + 1] for row in rows} == {names[row[place]] for row in rows} != set()
    with only(tmp_path / "p", SAFE, "csv").open(encoding="utf-8", newline="") as stream:
        plain = {row["restriction_id"]: row for row in csv.DictReader(stream)}
    for row in rows:
        said = dict(zip(header, row, strict=True))
        at = datetime.fromisoformat(plain[said["restriction_id"]]["first_seen_at"])
        there = at.astimezone(ZoneInfo("Europe/Oslo")).strftime("%Y-%m-%d %H:%M:%S")
        assert said["first_seen_at"] == there
        assert said["person_key"] == plain[said["restriction_id"]]["person_key"]


@pytest.mark.parametrize(
    ("at", "shown"),
    [
        (datetime(2026, 1, 31, 23, 30, 1, 999_999, tzinfo=UTC), "2026-02-01 00:30:01"),
        (datetime(2026, 3, 29, 0, 59, 59, tzinfo=UTC), "2026-03-29 01:59:59"),
        (datetime(2026, 3, 29, 1, 0, tzinfo=UTC), "2026-03-29 03:00:00"),
        (END_OF_TIME, "9999-12-31 23:59:59"),
        (START_OF_TIME, "0001-01-01 00:43:01"),
    ],
)
def test_times_are_those_of_norway(at, shown):
    """Also at the change to summer time, and at the ends of time."""
    assert cells(written({"at": Kind.TIME}, (at,))) == [["at"], [shown]]


def test_cells():
    """Numbers have a decimal comma, no value is an empty cell, no cell is a formula."""
    columns = {"code": Kind.TEXT, "n": Kind.INTEGER, "is": Kind.BOOLEAN, "exit_code": Kind.INTEGER}
    rows = [
        ("NORS", 1.5, True, 0),
        ("=1", -4, False, None),
        (None, None, None, 99),
        ("a;=b", 0, 0, 3),
    ]
    assert cells(written(columns, *rows)) == [
        ["code", "code_name", "n", "is", "exit_code", "exit_code_name"],
        ["NORS", "Sperret av innbyggeren for helsepersonell", "1,5", "SANN", "0", "Fullstendig"],
        ["'=1", "", "-4", "USANN", "", ""],
        ["", "", "", "", "99", ""],
        ["a;'=b", "", "0", "USANN", "3", "Publisert med mangler"],
    ]


def test_each_column_of_codes_has_names():
    """A code's column is one of those that are declared, and each system that is named exists."""
    columns = {column.name for view in view_columns().values() for column in view}
    systems = {code.system for code in codes()}
    assert set(code_systems()) - columns == set()
    assert {system for named in code_systems().values() for system in named} == systems
    assert {area.effect.code for area in AREAS} <= set(code_systems())


async def test_parquet_has_no_dialect(sqlite_url, tmp_path):
    """It is a wrong call, before anything is written."""
    async with world_on(sqlite_url) as world:
        with pytest.raises(UsageError, match="--dialect is for CSV"):
            await export_of(world, tmp_path / "x", Format.PARQUET, dialect=Dialect.EXCEL_NB)
    assert not (tmp_path / "x").exists()
