"""A run that takes several starts: every one brings it further, and the last publishes."""

from functools import partial
from pathlib import Path

import pytest

from tests.support.acceptance.two_worlds import settled
from tests.support.program import BATCH_PERSONS, Installation, Running, wait_for
from tests.support.raw_server import Reply, http
from tests.support.standin import Ask, Standin, person, ref_of

pytestmark = pytest.mark.promise("3")

PERSONS, AT_A_TIME = 60, 20
STARTS_MAX = 12
NEVER = Reply(data=b"", before_s=600.0)
ONE_BY_ONE = {
    "areas": ["patient-safety"],
    "concurrency": 1,
    "request_timeout_s": 120.0,
}


def test_a_run_of_several_starts_publishes(
    standin: Standin, tmp_path: Path, sqlite_url: str
) -> None:
    """It may have begun longer ago than sync.continue_within, if each start made progress."""
    for number in range(PERSONS):
        person(standin, number, safeties=1)
    worker = standin.install(tmp_path, sqlite_url, **ONE_BY_ONE)
    worker.constants[BATCH_PERSONS] = 1
    asked_before = 0

    def answer(ask: Ask) -> Reply:
        is_answered = len(standin.asked) - asked_before <= AT_A_TIME
        return http(ask.records) if is_answered else NEVER

    def has_come_to_a_halt(running: Running) -> bool:
        return running.process.poll() is not None or len(standin.asked) - asked_before > AT_A_TIME

    standin.everybody = answer
    codes: list[int] = []
    while codes[-1:] != [0] and len(codes) < STARTS_MAX:
        asked_before = len(standin.asked)
        running = worker.start("sync")
        wait_for(partial(has_come_to_a_halt, running), "as many as are answered")
        ended = running.stop()
        codes.append(ended.code)
        assert ended.run["continued"] is (len(codes) > 1)
        worker.store.rows(
            "UPDATE run SET started_at = '2026-01-01T00:00:00.000000+00:00' "
            "WHERE published_at IS NULL"
        )
    assert (set(codes[:-1]), codes[-1]) == ({75}, 0)
    assert len(codes) >= PERSONS / AT_A_TIME
    assert worker.store.runs() == [("published", 0)]
    assert worker.store.one("SELECT persons_complete FROM report_run") == PERSONS
    # Nothing that was written was read again; what was under way at a stop was.
    assert len(standin.asked) <= PERSONS + 2 * len(codes)


def is_kept(worker: Installation, refs: frozenset[str]) -> bool:
    """Whether of these persons everything is committed."""
    return {ref for ref, _ in settled(worker)} == refs


def test_a_person_who_kills_the_run_keeps_nobody_from_being_read(
    standin: Standin, tmp_path: Path, sqlite_url: str
) -> None:
    """Each start takes persons in an order of its own: in the end all others have been read."""
    for number in range(12):
        person(standin, number, safeties=1)
    killer, *others = standin.people
    worker = standin.install(tmp_path, sqlite_url, **ONE_BY_ONE)
    worker.constants[BATCH_PERSONS] = 1
    standin.script[killer, ""] = lambda _: NEVER
    expected, read, starts = {ref_of(off_id) for off_id in others}, set[str](), 0
    while read != expected and starts < STARTS_MAX:
        standin.asked.clear()
        running = worker.start("sync")
        wait_for(lambda: (killer, "patient-safety") in standin.asked, "the person who kills it")
        read |= {ref_of(off_id) for off_id, _ in standin.asked if off_id != killer}
        wait_for(partial(is_kept, worker, frozenset(read)), "what was read is kept")
        worker.kill(running)
        starts += 1
    assert read == expected, f"after {starts} starts"
