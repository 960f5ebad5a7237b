"""Exports as of an earlier time, beside those that were made then."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.support.report.exports import contents, export_of, only, typed_rows_of
from tests.support.report.stores import ANY, NEVER, key_of, missed, privacy, safety, seen
from tests.support.store_world import world_on
from worker.errors import UsageError
from worker.report.selection import NOT_OF_THE_PAST, OF_THE_PAST
from worker.report.sinks import Format

CURRENT = ("report_patient_safety_current", "report_patient_privacy_current")


async def four_nights(world, out):
    """Nights with an export after each: changed, gone, back, moved on, missed, departed, delays."""
    now = world.fake.now()
    instants = []
    for night in range(4):
        reads = []
        for n in range(8 - (night == 3)):
            until = now + timedelta(days=n)
            safe = [safety(f"s{n}", "NORU" if night < 2 or n % 2 else "NORN_EPO", until)]
            if n != 2 or night != 1:
                safe.append(safety(f"n{n}", "N" if n else "NEW", NEVER))
            private = (privacy(f"p{n}", "Block", "Hard" if night < n else "Soft"),)
            ref, cohort = f"R{n}-{night // 2}", f"Clinic {night}" if n < 2 else None
            if n == 5 and night == 2:
                reads.append(missed(world, n, ref, cohort))
            else:
                reads.append(seen(world, n, *safe, private=private, ref=ref, cohort=cohort))
        await world.publish(*reads, limits=ANY)
        views = [view.name for view in OF_THE_PAST]
        made = await export_of(world, out / "then", Format.PARQUET, views)
        instants.append(datetime.fromisoformat(made.published_at))
        world.fake.advance(86_400)
    return instants


def rows_below(folder):
    """The rows of each view, without what only the last read says."""
    return {
        str(path.parent.relative_to(folder)): [
            {name: value for name, value in row.items() if name not in NOT_OF_THE_PAST}
            for row in typed_rows_of(path)
        ]
        for path in folder.rglob("part-*.parquet")
    }


@pytest.mark.promise("2")
async def test_what_was_exported_then(database_url, tmp_path):
    """Each night's rows again, in their order, from the history; at its instant and hours later.

    Freshness is empty, not today's; after an erasure the manifest says how many rows are missing.
    """
    async with world_on(database_url, our_clock=True) as world:
        instants = await four_nights(world, tmp_path)
        found: dict[str, list[dict[str, object]]] = {}
        folder = ""
        for number, instant in enumerate(instants, 1):
            folder = f"publication_no={number}"
            as_of = instant + timedelta(hours=7 * (number - 1))
            manifest = await export_of(world, tmp_path / "now", Format.PARQUET, as_of=as_of)
            assert (manifest.folder, manifest.not_kept) == (folder, 0)
            then = rows_below(tmp_path / "then" / folder)
            found = rows_below(tmp_path / "now" / folder)
            assert len(found) == len(OF_THE_PAST)
            assert found == then
        await world.erase(key_of(7))
        manifest = await export_of(world, tmp_path / "less", Format.CSV, CURRENT, as_of=instants[0])
        assert manifest.not_kept == 3
        manifest = await export_of(world, tmp_path / "less", Format.CSV, CURRENT)
        assert manifest.not_kept is None
    current = found["area=patient-safety/current"]
    labels = {(row["local_ref"], row["cohort"]) for row in current}
    assert {("R0-1", "Clinic 3"), ("R2-1", None)} <= labels
    assert {row["is_in_effect"] for row in current} == {True, False}
    rows = typed_rows_of(only(tmp_path / "now", CURRENT[0], "parquet", night=folder))
    assert rows
    assert {row[name] for row in rows for name in NOT_OF_THE_PAST} == {None}
    assert len(current) < len(found["area=patient-safety/history"])


async def test_the_latest_stays_the_latest(sqlite_url, tmp_path):
    """An export as of before does not take the name from a later publication; alone it has it.

    By a time before the first there is nothing: no folder, and a sentence with the first.
    """
    out = tmp_path / "out"
    async with world_on(sqlite_url) as world:
        before = world.fake.now() - timedelta(seconds=1)
        with pytest.raises(UsageError, match="nothing was published by") as caught:
            await export_of(world, out, Format.CSV, as_of=before)
        assert caught.value.hint == "nothing has been published yet"
        instants = await four_nights(world, tmp_path)
        with pytest.raises(UsageError, match="nothing was published by") as caught:
            await export_of(world, out, Format.CSV, as_of=before)
        assert str(instants[0])[:10] in str(caught.value.hint)
        assert contents(out) == {}
        for as_of, latest in ((instants[1], 2), (instants[0], 2), (None, 4), (instants[2], 4)):
            await export_of(world, out, Format.CSV, CURRENT, as_of=as_of)
            assert contents(out)["_LATEST"] == f"publication_no={latest}\n".encode()


async def test_what_has_no_past(sqlite_url, tmp_path):
    """Views of today alone are refused, with those that there are."""
    others: list[dict[str, Any]] = [{"since": 1}, {"views": ["failure"]}]
    async with world_on(sqlite_url) as world:
        for other in others:
            with pytest.raises(UsageError, match="--as-of is not for"):
                await export_of(world, tmp_path, Format.CSV, as_of=world.fake.now(), **other)
