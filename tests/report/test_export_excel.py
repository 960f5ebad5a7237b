"""CSV for Excel in Norwegian."""

import csv
import io
import re
from datetime import datetime
from zoneinfo import ZoneInfo

from tests.support.report.exports import NIGHT, SAFE, contents, export_of, only
from tests.support.report.stores import small_store
from tests.support.store_world import world_on
from worker.core.area import AREAS
from worker.report.formats import open_sink
from worker.views import Kind, ViewColumn, codes, systems_of, view_columns


def written(columns, *rows):
    stream = io.BytesIO()
    declared = [
        ViewColumn(name=name, kind=kind, nb="", en="", heading=f"<{name}>")
        for name, kind in columns.items()
    ]
    with open_sink(stream, declared, "excel-nb") as sink:
        sink.write(rows)
    return stream.getvalue()


def cells(content):
    text = content.decode("utf-8-sig")
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=";"))


def _pairs(content):
    """The head of a file with each of its rows."""
    head, *rows = cells(content)
    return [(head, row) for row in rows]


async def test_what_excel_opens(sqlite_url, tmp_path):
    """A mark, semicolons, Oslo time, and words in bokmål, in every view of a real store."""
    async with world_on(sqlite_url) as world:
        await small_store(world)
        await export_of(world, tmp_path / "p", "csv", [SAFE])
        manifest = await export_of(world, tmp_path / "x", "csv", dialect="excel-nb")
    files = {name: data for name, data in contents(tmp_path / "x").items() if ".csv" in name}
    assert len(files) == len(manifest.views)
    assert all(data.startswith(b"\xef\xbb\xbf") for data in files.values())
    header, *rows = cells(files[f"{NIGHT}/innbyggers_innsyn_naa.csv"])
    names = {code.code: code.name_nb for code in codes() if code.system == "9603"}
    with only(tmp_path / "p", SAFE, "csv").open(encoding="utf-8", newline="") as stream:
        plain = {row["restriction_id"]: row for row in csv.DictReader(stream)}
    for row in rows:
        said = dict(zip(header, row, strict=True))
        assert said["Kode (navn)"] == names[said["Kode"]]
        assert said["Gruppe"] in {"Nektet innsyn", "Utsatt innsyn", "Ingen restriksjon"}
        at = datetime.fromisoformat(plain[said["Restriksjon"]]["first_seen_at"])
        there = at.astimezone(ZoneInfo("Europe/Oslo")).strftime("%Y-%m-%d %H:%M:%S")
        assert said["Først sett"] == there
        assert said["Person"] == plain[said["Restriksjon"]]["person_key"]
    words = [dict(zip(*pair, strict=True)) for pair in _pairs(files[f"{NIGHT}/ordliste.csv"])]
    assert {"Betydning"} < words[0].keys()
    assert not [column for column in words[0] if "engelsk" in column]
    of_file = [word for word in words if word["Fil"] == "innbyggers_innsyn_naa"]
    headings = [column for column in header if not column.endswith(" (navn)")]
    assert sorted(word["Overskrift"] for word in of_file) == sorted(headings)
    assert {word["Verditype"] for word in words} == {
        code.name_nb for code in codes() if code.system == "type"
    }
    assert {"Pasienter", "Norsk tid", ""} < {word["Enhet"] for word in words}
    assert "persons" not in {word["Enhet"] for word in words}
    runs = cells(files[f"{NIGHT}/kjoeringer.csv"])
    assert [row[1:3] for row in runs] == [
        ["Slag", "Tilstand"],
        *[["Full kjøring", "Publisert"]] * 2,
    ]


def test_cells():
    """Numbers have a decimal comma, no value is an empty cell, no cell is a formula."""
    columns = {"code": Kind.TEXT, "n": Kind.INTEGER, "is": Kind.BOOLEAN, "exit_code": Kind.INTEGER}
    rows = [
        ("NORS", 1.5, True, 0),
        ("=1", -4, False, None),
        (None, None, None, 99),
        ("a;=b", 0, 0, 3),
    ]
    content = written(columns, *rows)
    # An Excel that separates by comma must not split a cell, and run its second part.
    assert all(re.fullmatch(rb'("[^"]*"(;|$))+', line) for line in content[3:].splitlines())
    assert cells(content) == [
        ["<code>", "<code> (navn)", "<n>", "<is>", "<exit_code>"],
        ["NORS", "Sperret av innbyggeren for helsepersonell", "1,5", "SANN", "Fullstendig"],
        ["'=1", "", "-4", "USANN", ""],
        ["", "", "", "", "99"],
        ["a;'=b", "", "0", "USANN", "Publisert med mangler"],
    ]


def test_each_column_of_codes_has_names():
    """Each code system belongs to a column that is declared, and each column of codes has one."""
    columns = {column.name for view in view_columns().values() for column in view}
    named = {name for column in columns for name in systems_of(column)}
    assert named == {code.system for code in codes()}
    assert all(systems_of(area.effect.code) for area in AREAS)
