"""Killed or stopped anywhere, two at once: nothing lost, nothing doubled, nothing twice."""

from pathlib import Path

import pytest

from tests.support.acceptance.two_worlds import first_world, settled
from tests.support.made_databases import BOTH
from tests.support.program import BATCH_PERSONS, REQUEST_TIMEOUT_S, wait_for
from tests.support.raw_server import Reply
from tests.support.standin import PRIVACY, SAFETY, Standin, off_id_of, persons, ref_of

pytestmark = pytest.mark.promise("3")

NEVER = Reply(data=b"", before_s=600.0)
STARTS_MAX = 12
ONE_BY_ONE = {"areas": ["patient-safety"], "concurrency": 1}


def test_what_was_read_is_kept_soon(standin: Standin, tmp_path: Path, sqlite_url: str) -> None:
    """A batch that does not fill is committed after some 2 s: a kill costs no more than that."""
    first_world(standin)
    worker = standin.install(tmp_path, sqlite_url, concurrency=8)
    worker.constants[REQUEST_TIMEOUT_S] = 120.0
    silent = {off_id_of(10), off_id_of(40)}
    for off_id in silent:
        standin.script[off_id, ""] = lambda _: NEVER
    expected = {
        (ref_of(off_id), area)
        for off_id in standin.people.keys() - silent
        for area in (SAFETY, PRIVACY)
    }
    running = worker.start("sync")
    wait_for(lambda: expected <= settled(worker), "the commit")
    assert running.process.poll() is None
    worker.kill(running)
    standin.script.clear()
    begin = len(standin.asked)
    assert worker.sync().code == 0
    assert {off_id for off_id, _ in standin.asked[begin:]} == silent


@pytest.mark.promise("4")
@pytest.mark.parametrize("database_url", BOTH, indirect=True)
def test_waiting_for_another_run(standin: Standin, tmp_path: Path, database_url: str) -> None:
    """`--wait` outlasts the run that is on, says so once, and does its own; too short is 4."""
    first_world(standin)
    worker = standin.install(tmp_path, database_url)
    standin.delay_s = 3.0  # 45 s in all, for the others to come in
    first = worker.start("sync")
    wait_for(lambda: standin.asked, "the first search")
    assert worker.sync("--wait", "1s").code == 4
    second = worker.start("sync", "--wait", "60s")
    second.until_logged("lease.waiting")
    renewals = set[str]()

    def is_renewed_twice() -> bool:
        renewals.add(str(worker.store.rows("SELECT * FROM lease")))
        return len(renewals) > 2

    wait_for(is_renewed_twice, "renewals")  # at which a start without `--wait` ends
    standin.delay_s = 0.0
    assert first.wait().code == 0
    ended = second.wait()
    assert (ended.code, ended.run["continued"]) == (0, False)
    assert worker.store.runs() == [("published", 0), ("published", 0)]
    [reported] = ended.events("lease.waiting")
    assert "another run holds the lease" in reported["reason"]


def test_a_person_who_kills_the_run_keeps_nobody_from_being_read(
    standin: Standin, tmp_path: Path, sqlite_url: str
) -> None:
    """Each start takes persons in an order of its own: in the end all others have been read."""
    persons(standin, range(12), safeties=1)
    killer, *others = standin.people
    worker = standin.install(tmp_path, sqlite_url, **ONE_BY_ONE)
    worker.constants[REQUEST_TIMEOUT_S] = 120.0
    worker.constants[BATCH_PERSONS] = 1
    standin.script[killer, ""] = lambda _: NEVER
    expected, read, starts = {ref_of(off_id) for off_id in others}, set[str](), 0
    while read != expected and starts < STARTS_MAX:
        standin.asked.clear()
        running = worker.start("sync")
        wait_for(lambda: (killer, "patient-safety") in standin.asked, "the person who kills it")
        read.update(ref_of(off_id) for off_id, _ in standin.asked if off_id != killer)
        wait_for(lambda: {ref for ref, _ in settled(worker)} == read, "what was read is kept")
        worker.kill(running)
        starts += 1
    assert read == expected, f"after {starts} starts"
