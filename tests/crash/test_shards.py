"""Four real processes at one run: killed, paused and replaced, they end where one alone ends."""

import json
import signal
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.crash.ground import PERSONS, Ground, PostgresDatabases, pause
from tests.support.program import Ended, Installation, Running, Sandbox, sandbox, wait_for
from tests.support.zygote import Zygote
from worker.store.schema.tables import TOTALS

COUNT = 4
RATE = 30
"""Requests a second over all: the run takes some ten seconds, long enough to be disturbed."""
WINDOW_S = 5.0
IN_FLIGHT = 2 * COUNT * 4
"""What may be late on either side, if a process or the sandbox stood still for a moment."""
LEASE_TTL_S = 5


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox that nobody else asks: its requests are counted."""
    with sandbox(tmp_path_factory.mktemp("quiet"), "--persons", str(PERSONS)) as made:
        yield made


@pytest.fixture(scope="module")
def ground(
    quiet: Sandbox,
    zygote: Zygote,
    postgres_databases: PostgresDatabases,
    tmp_path_factory: pytest.TempPathFactory,
) -> Ground:
    """The base store, and what one process made of it."""
    folder = tmp_path_factory.mktemp("shards")
    return Ground(
        sandbox=quiet, zygote=zygote, databases=postgres_databases, folder=folder
    ).prepare()


def requests_of(served: Sandbox, since: float) -> list[float]:
    """When the sandbox answered searches."""
    with urllib.request.urlopen(f"{served.control_url}requests", timeout=30) as answer:  # noqa: S310
        found: list[dict[str, Any]] = json.load(answer)
    return [one["at"] for one in found if one["at"] >= since and "patient" in one["where"]]


def busiest(times: list[float]) -> int:
    """The most requests within ``WINDOW_S``."""
    return max(sum(begin <= one < begin + WINDOW_S for one in times) for begin in times)


def read_by(worker: Installation, index: int) -> int:
    """Person-areas that the last turn of a shard has written."""
    found: int = worker.store.one(
        "SELECT count(*) FROM person_area WHERE attempt_id = "
        f"(SELECT max(attempt_id) FROM run_attempt WHERE shard = {index} AND run_id = 2)"
    )
    return found


def totals(worker: Installation) -> dict[str, int]:
    """The last line of the ledger, but for what repetitions cost."""
    names = [name for name in TOTALS if name not in ("requests", "retries")]
    (row,) = worker.store.rows(
        f"SELECT {', '.join(names)} FROM report_run ORDER BY run_id DESC LIMIT 1"
    )
    return dict(zip(names, row, strict=True))


@pytest.mark.promise("4")
@pytest.mark.promise("7")
def test_killed_paused_and_replaced_they_end_where_one_ends(ground: Ground, quiet: Sandbox):
    """One is killed and restarted, one slept past its lease and was replaced: the same result.

    Nothing that the one that slept tries afterwards is written; a shard that is started when all is
    published has nothing to do; and PTS was never asked more often than one process might.
    """
    alone = ground.worker()
    assert ground.sync(alone).code == 0
    worker = ground.worker()
    worker.configure(sync={"requests_per_second": RATE}, lease={"ttl_s": LEASE_TTL_S})

    def start(index: int, *more: str) -> Running:
        return ground.start(worker, "--shard", f"{index}/{COUNT}", "--run-key", "night", *more)

    began = time.time()
    shards = [start(index) for index in range(COUNT)]
    wait_for(lambda: read_by(worker, 1), "a batch")
    shards[1].kill()
    shards[1] = start(1)
    slept = shards[2]
    wait_for(lambda: read_by(worker, 2), "a batch")
    assert pause(slept)
    shards[2] = start(2, "--wait", "60s")

    ended = [shard.wait() for shard in shards]
    assert [one.code for one in ended] == [0] * COUNT, [one.err for one in ended]
    (last,) = (one for one in ended if one.run["status"] == "published")
    assert ground.after == worker.store.published()
    assert worker.store.runs() == [("published", 0)] * 2
    assert totals(alone) == totals(worker)
    assert [ended[index].run["continued"] for index in (1, 2)] == [True, True]
    assert last.run["shard"] == {"index": last.run["shard"]["index"], "count": COUNT, "done": COUNT}

    before = worker.store.everything()
    slept.signal(signal.SIGCONT)
    late = slept.wait()
    assert late.code == 75, late.out + late.err
    assert "took over" in late.message
    assert before == worker.store.everything()

    again: Ended = start(0).wait()
    assert (again.code, again.run["status"]) == (0, "published")
    assert "already published" in again.run["reasons"][0]
    assert worker.store.runs() == [("published", 0)] * 2
    assert ground.after == worker.store.published()

    times = requests_of(quiet, began)
    assert len(times) >= 2 * (PERSONS - 5)
    assert busiest(times) <= RATE * WINDOW_S + IN_FLIGHT
