"""Exports from real stores: which files, what is in them, and what becomes of earlier ones."""

import errno
import hashlib
import re
import stat
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.report.exports import (
    NIGHT,
    SAFE,
    contents,
    export_of,
    only,
    rows_of,
    typed_rows_of,
)
from tests.support.report.stores import ANY, interrupted, key_of, safety, seen, small_store
from tests.support.store_world import world_on
from worker import __version__
from worker.errors import ConfigurationError, UsageError
from worker.report.formats import FORMATS
from worker.store.runs.ledger import purge
from worker.views import view_columns, view_keys

pytestmark = pytest.mark.promise("2")


async def test_every_view_becomes_a_private_file(sqlite_url, tmp_path):
    """All views but the access log, mode 0600, with a manifest that proves each file."""
    views = set(view_columns()) - {"report_access"}
    async with world_on(sqlite_url) as world:
        await small_store(world)
        for fmt in FORMATS:
            out = tmp_path / fmt / "here"
            manifest = await export_of(world, out, fmt)
            files = {f"{NIGHT}/{view}.{fmt}" for view in views}
            assert set(contents(out)) == {*files, f"{NIGHT}/_manifest.json", "_LATEST"}
            modes = {
                path: oct(stat.S_IMODE(path.stat().st_mode)) for path in [out, *out.rglob("*")]
            }
            assert modes == {path: oct(0o700 if path.is_dir() else 0o600) for path in modes}
            assert (out / "_LATEST").read_text() == f"{NIGHT}\n"
            said = msgspec.json.decode((out / NIGHT / "_manifest.json").read_bytes())
            assert (
                said
                | {
                    "run_id": 2,
                    "publication_no": 2,
                    "worker_version": __version__,
                    "schema_revision": "0001",
                }
                == said
            )
            assert re.fullmatch(r"2026-03-29T22:18:\d\d\.\d{6}Z", said["published_at"])
            for view in said["views"]:
                content = (out / NIGHT / view["file"]).read_bytes()
                assert view["sha256"] == hashlib.sha256(content).hexdigest()
                assert view["bytes"] == len(content)
            current = next(view for view in said["views"] if view["name"] == SAFE)
            assert current["rows"] == 15
            assert {"name": "is_stale", "type": "boolean"} in current["columns"]
            amounts = {view.name: view.rows for view in manifest.views}
            assert amounts | {"report_person_freshness": 20, "report_run": 2} == amounts


async def test_what_changed_since_a_publication(sqlite_url, tmp_path):
    """The change feed alone, in order; an erasure after that publication is in it.

    In a folder of its own, so that it replaces no export of the whole publication.
    """
    async with world_on(sqlite_url) as world:
        await small_store(world)
        await world.erase(key_of(9))
        found = {}
        for since in (0, 1, 2):
            manifest = await export_of(world, tmp_path, "csv", since=since)
            assert manifest.since == since
            assert [view.name for view in manifest.views] == ["report_change_feed"]
            night = f"{NIGHT}-since-{since}"
            rows = rows_of(only(tmp_path, "report_change_feed", "csv", night=night))
            found[since] = [(int(row["seq"]), row["publication_no"], row["op"]) for row in rows]
            assert found[since] == sorted(found[since])
        assert {number for _, number, _ in found[0]} == {"1", "2"}
        assert found[1] == [row for row in found[0] if row[1] == "2"]
        assert [op for _, _, op in found[1]] == ["close", "close", "update", "erase"]
        assert found[2] == found[1][-1:]


async def test_a_purge_after_a_publication_is_exported(sqlite_url, tmp_path):
    """A copy that follows the exports deletes the versions that the retention deleted."""
    async with world_on(sqlite_url) as world:
        await small_store(world)
        world.fake.advance(86_400)
        purged = await purge(await world.lease(), versions=timedelta(hours=1))
        assert purged.versions
        await export_of(world, tmp_path, "csv", since=2)
        rows = rows_of(only(tmp_path, "report_change_feed", "csv", night=f"{NIGHT}-since-2"))
        assert [row["op"] for row in rows] == ["purge"] * purged.versions
        with pytest.raises(UsageError, match="by itself"):
            await export_of(world, tmp_path, "csv", ["run"], since=1)
        with pytest.raises(UsageError, match="publication 3 does not exist; the last one is 2"):
            await export_of(world, tmp_path / "3", "csv", since=3)
        assert list((tmp_path / "3").iterdir()) == [], "nothing is left of it"


async def test_an_erasure_before_a_publication_is_not_newer(sqlite_url, tmp_path):
    """Also if the publication has changed nothing, so that the feed has no row of it."""
    async with world_on(sqlite_url) as world:
        reads = [seen(world, number, safety(f"s{number}", "NORU")) for number in (1, 2)]
        await world.publish(*reads)
        await world.erase(key_of(2))
        await world.publish(reads[0])
        assert (await export_of(world, tmp_path, "csv", since=1)).views[0].rows == 1
        assert (await export_of(world, tmp_path, "csv", since=2)).views[0].rows == 0


async def test_rows_are_in_the_order_of_the_primary_key(database_url, tmp_path):
    """In each format and kind of export; texts by their bytes, whatever the database's locale.

    No two rows have one key, and persons were stored in another order than that of their keys.
    """
    async with world_on(database_url, our_clock=True) as world:
        keys = ["b", "B", "a-1", "a1", "a 2", "å", "z", "Z-"]
        first = [safety(key, "N") for key in keys]
        others = [seen(world, n, safety(f"s{9 - n}", f"N{9 - n}")) for n in range(1, 6)]
        await world.publish(seen(world, 0, *first), *others)
        await world.publish(seen(world, 0, *first[1:]), *reversed(others), limits=ANY)
        kinds: list[dict[str, Any]] = [{"since": 0}]
        for fmt, options in [*product(FORMATS, [{}]), *product(["parquet"], kinds)]:
            out = tmp_path / "-".join((fmt, *options))
            manifest = await export_of(world, out, fmt, **options)
            assert_in_order(manifest, out)
    rows = typed_rows_of(only(tmp_path / "parquet", SAFE, "parquet"))
    assert {row["restriction_id"] for row in rows} >= set(keys[1:])


def assert_in_order(manifest, out):
    """The keys of each view's rows rise from line to line of its file."""
    read = {"csv": rows_of, "parquet": typed_rows_of}
    for view in manifest.views:
        path = out / manifest.folder / view.file
        numbers = {column.name for column in view.columns if column.type == "integer"}
        found = [
            tuple(
                int(row[name]) if name in numbers else str(row[name])
                for name in view_keys()[view.name]
            )
            for row in read[manifest.format](path)
        ]
        assert found == sorted(set(found)), (view.name, manifest.format)
        assert tuple(view.order) == view_keys()[view.name]


async def test_a_used_folder_keeps_nothing_of_the_same_publication(sqlite_url, tmp_path):
    """Another format, fewer views: what was there goes; other publications stay."""
    out = tmp_path / "out"
    async with world_on(sqlite_url) as world:
        await small_store(world)
        await export_of(world, out, "csv")
        await export_of(world, out, "parquet", ["run"])
        assert set(contents(out / NIGHT)) == {"report_run.parquet", "_manifest.json"}
        kept = contents(out / NIGHT)
        await world.publish(*(seen(world, n) for n in range(10)), limits=ANY)
        await export_of(world, out, "csv", ["run"])
        assert contents(out / NIGHT) == kept
    names = {path.name for path in out.iterdir()}
    assert names == {NIGHT, "publication-3", "_LATEST"}
    assert (out / "_LATEST").read_text() == "publication-3\n"


async def test_a_folder_of_others_is_not_replaced(sqlite_url, tmp_path):
    """Something that has the name and no manifest is left alone."""
    out = tmp_path / "out"
    async with world_on(sqlite_url) as world:
        await small_store(world)
        (out / NIGHT).mkdir(parents=True)
        (out / NIGHT / "thesis.txt").write_text("x")
        with pytest.raises(ConfigurationError, match="it is not an export"):
            await export_of(world, out, "csv")
    assert contents(out) == {f"{NIGHT}/thesis.txt": b"x"}


class Failing:
    """A connection that fails before the third view is streamed."""

    def __init__(self, connection):
        self.execute, self.dialect = connection.execute, connection.dialect
        self._stream, self._views = connection.stream, 0

    def stream(self, *args, **options):
        self._views += 1
        if self._views == 3:
            raise RuntimeError("in the middle")
        return self._stream(*args, **options)


async def test_a_failed_export_leaves_the_old_one(sqlite_url, tmp_path):
    """Files appear when all are complete; what stood there before stands until then."""
    async with world_on(sqlite_url) as world:
        await small_store(world)

        async def failing(work):
            return await world.database.read(lambda connection: work(Failing(connection)))

        for fmt in FORMATS:
            out = tmp_path / fmt
            await export_of(world, out, fmt)
            before = contents(out)
            with pytest.raises(RuntimeError, match="in the middle"):
                await export_of(world, out, fmt, read=failing)
            assert contents(out) == before
            assert {path.name for path in out.iterdir()} == {NIGHT, "_LATEST"}


async def test_a_folder_that_cannot_be_replaced_stays(sqlite_url, tmp_path, monkeypatch):
    """The old export is put back, and `_LATEST` names no folder that is not there."""
    out, rename = tmp_path / "out", Path.rename

    def failing(source, target):
        if ".part" in source.name and (source / "_manifest.json").exists() and target not in old:
            old.add(target)
            raise OSError(errno.ENOSPC, "No space left on device")
        return rename(source, target)

    async with world_on(sqlite_url) as world:
        await small_store(world)
        await export_of(world, out, "csv", ["run"])
        before, old = contents(out), set()
        monkeypatch.setattr(Path, "rename", failing)
        for _ in ("the same publication", "the next one"):
            with pytest.raises(ConfigurationError, match="no space left"):
                await export_of(world, out, "csv", ["code"])
            assert contents(out) == before
            await world.publish(seen(world, 1), limits=ANY)


async def test_the_files_belong_to_one_publication(database_url, tmp_path):
    """A run published in the middle of an export does not show in its later files."""
    async with world_on(database_url, our_clock=True) as world:
        await small_store(world)
        manifest = await export_of(world, tmp_path, "csv", read=interrupted(world))
        assert manifest.run_id == 2
        assert await world.rows("SELECT MAX(publication_no) FROM report_publication") == [(3,)]
        runs = rows_of(only(tmp_path, "report_run", "csv"))
        assert [row["run_id"] for row in runs] == ["1", "2"]
        codes = {row["confidentiality_code"] for row in rows_of(only(tmp_path, SAFE, "csv"))}
        assert "X" not in codes
