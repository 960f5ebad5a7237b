"""``--shard`` and ``--run-key``, and what ``status`` tells of shards."""

from pathlib import Path

import pytest

from tests.support.program import Ended, install, run
from tests.support.shard_world import KEY, World, dead, names
from tests.support.store_world import read
from worker.cli.sync import part_of
from worker.core.run import RunProgress
from worker.core.sharding import Shard, ShardAssignment
from worker.errors import ExitCode, UsageError

POD = {"JOB_COMPLETION_INDEX": "2", "PTS_SHARD_COUNT": "4", "PTS_RUN_KEY": "job-x"}


def test_flags_name_the_part():
    """Counted from 0 or from 1; without either flag the run is whole, also in an Indexed Job."""
    assert ShardAssignment(shard=Shard(index=0, count=4), run_key="k") == part_of("4/4", "k", {})
    assert part_of(None, None, {"JOB_COMPLETION_INDEX": "2"}) is None


def test_the_environment_names_the_part():
    """As Kubernetes sets it; a flag goes before it."""
    assert ShardAssignment(shard=Shard(index=2, count=4), run_key="job-x") == part_of(
        None, None, POD
    )
    assert ShardAssignment(shard=Shard(index=1, count=3), run_key="k") == part_of("1/3", "k", POD)


@pytest.mark.parametrize(
    ("shard", "run_key", "environ", "says"),
    [
        ("1/4", None, {}, "--shard goes with --run-key"),
        (None, "k", {}, "--run-key goes with --shard"),
        (None, None, {"PTS_RUN_KEY": "k"}, "--run-key goes with --shard"),
        (None, None, POD | {"PTS_RUN_KEY": ""}, "--shard goes with --run-key"),
        (None, "k", {"PTS_SHARD_COUNT": "4"}, "JOB_COMPLETION_INDEX is not"),
        ("5/4", "k", {}, "no shard 5 of 4"),
        ("x", "k", {}, "is not i/n"),
        ("1/4", "a b", {}, "a run key is"),
    ],
)
def test_half_a_part_is_wrong_usage(shard, run_key, environ, says):
    """One without the other, or what is neither."""
    with pytest.raises(UsageError, match=says):
        part_of(shard, run_key, environ)


def test_sqlite_is_refused(tmp_path: Path, migrated_sqlite: Path):
    """Shards on SQLite are a fault of the configuration, with what to do; and nothing is begun."""
    ended = on(f"sqlite:///{migrated_sqlite}", tmp_path, "sync", "--shard", "1/4", "--run-key", "k")
    assert ended.code == 78
    assert "shards need PostgreSQL" in ended.message
    assert "postgresql://" in ended.message


async def test_a_rate_that_cannot_be_divided_is_refused(world: World, tmp_path: Path):
    """Each shard needs a request an hour at least; nothing is begun."""
    call = ("sync", "--shard", "1/4", "--run-key", "k", "--set", "sync.requests_per_second=0.001")
    ended = on(world.url, tmp_path, *call)
    assert ended.code == 78
    assert "sync.requests_per_second: too low" in ended.message
    assert await world.rows("SELECT count(*) FROM run") == [(0,)]


async def test_status_shows_how_far_each_shard_is(world: World, tmp_path: Path):
    """On, done, ended, died; and who holds a lease."""
    done, ended, _ = [await world.shard(index, 4) for index in (0, 1, 2)]
    await world.shard(3, 4, holder=dead())
    await done.write(read(world, names(0, 1, 4)[0]))
    await done.end()
    await ended.store.interrupt(ExitCode.UNAVAILABLE, "PTS is away", RunProgress())
    await ended.lease.release()
    status = on(world.url, tmp_path, "status").document
    assert status["lease"]["is_dead"] is False
    assert (status["open_run"]["run_key"], status["open_run"]["status"]) == (KEY, "running")
    assert [
        tuple(one[name] for name in ("index", "of", "exit_code", "is_live", "is_done"))
        for one in status["open_run"]["shards"]
    ] == [
        (0, 4, 0, False, True),
        (1, 4, 69, False, False),
        (2, 4, None, True, False),
        (3, 4, None, False, False),
    ]
    text = run("--config", "worker.toml", "status", folder=tmp_path).out
    for words in (
        "in 4 shards, key night-1",
        "has done its part",
        "ended with 69",
        "is on",
        "died",
    ):
        assert words in text


def on(database_url: str, folder: Path, *arguments: str) -> Ended:
    """A command on this database, with a configuration that lacks nothing."""
    closed = "http://127.0.0.1:9"
    worker = install(
        folder,
        database_url=database_url,
        issuer=closed,
        base_url=closed,
        client_id="c",
        client_key={},
    )
    worker.roster()
    return worker.run(*arguments)
