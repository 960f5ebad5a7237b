"""Killed anywhere, stopped anywhere, two at once: nothing lost, nothing doubled, nothing twice."""

import os
import pty
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.acceptance.conftest import MakeDatabase
from tests.support.program import Installation, Running, environment, wait_for
from tests.support.raw_server import Reply
from tests.support.standin import (
    PRIVACY,
    SAFETY,
    Standin,
    off_id_of,
    person,
    privacy,
    ref_of,
    safety,
)

pytestmark = pytest.mark.promise("3")

PERSONS = 60
SEED = random.SystemRandom().randrange(10**6)
"""Another one each time; it is in the message of a test that fails."""


def first_world(standin: Standin) -> None:
    for number in range(PERSONS):
        person(standin, number, safeties=number % 3 + 1, privacies=number % 2)


def second_world(standin: Standin) -> None:
    """Some restrictions are new, some changed, some gone, and a few persons come and go."""
    for number in range(PERSONS):
        off_id = off_id_of(number)
        found = standin.people[off_id]
        if number % 5 == 0:
            found[SAFETY].append(safety(off_id, "new", confidentialityCode="NORN_DUP"))
        if number % 7 == 0:
            found[PRIVACY] = [privacy(off_id, "0", privacyLevel="Hard")]
        if number % 20 == 1:
            found[SAFETY].pop()
    standin.people.pop(off_id_of(3))
    for number in range(PERSONS, PERSONS + 4):
        person(standin, number, safeties=2)


def settled(worker: Installation) -> set[tuple[str, str]]:
    """Areas that the open run has read completely and committed, by local reference."""
    return set(
        worker.store.rows(
            "SELECT p.local_ref, a.area FROM person_area a JOIN person p "
            "ON p.person_id = a.person_id JOIN run r ON r.run_id = a.run_id "
            "WHERE r.status IN ('running', 'interrupted') AND a.is_complete"
        )
    )


def asked_since(standin: Standin, begin: int) -> set[tuple[str, str]]:
    return {(ref_of(off_id), area) for off_id, area in standin.asked[begin:]}


def wait_until_asked(standin: Standin, running: Running, count: int) -> None:
    """Wait for that many searches in all, or for the program's end."""
    wait_for(
        lambda: len(standin.asked) >= count or running.process.poll() is not None,
        f"search number {count} (seed {SEED})",
    )


Pair = tuple[Installation, Installation]


@pytest.fixture
def pair(standin: Standin, make_sqlite: MakeDatabase, tmp_path: Path) -> Pair:
    """A worker, and a twin with a database of its own that nobody disturbs."""
    first_world(standin)
    undisturbed = standin.install(tmp_path / "twin", make_sqlite())
    assert undisturbed.sync().code == 0
    ours = make_sqlite(like=undisturbed.database_url)
    second_world(standin)
    worker = standin.install(tmp_path / "worker", ours, batch_persons=4, concurrency=4)
    undisturbed.roster(*standin.lines())
    assert undisturbed.sync().code == 0
    return worker, undisturbed


def test_killed_at_random_and_continued(standin: Standin, pair: Pair) -> None:
    """Killed three times at random moments: the end is the twin's, and no area is read twice."""
    worker, undisturbed = pair
    dice = random.Random(SEED)
    standin.delay_s = 0.03
    for _ in range(3):
        before, begin = settled(worker), len(standin.asked)
        running = worker.start("sync")
        goal = dice.randrange(10, 45)
        wait_until_asked(standin, running, begin + goal)
        time.sleep(dice.random() / 4)
        running.kill()
        assert set() == before & asked_since(standin, begin), SEED
    standin.delay_s = 0.0
    before, begin = settled(worker), len(standin.asked)
    ended = worker.sync()
    assert ended.code == 0, SEED
    assert set() == before & asked_since(standin, begin), SEED
    assert undisturbed.store.published() == worker.store.published(), SEED
    assert standin.violations == []


def test_what_was_read_is_kept_soon(standin: Standin, tmp_path: Path, sqlite_url: str) -> None:
    """A batch that does not fill is committed after some 2 s: a kill costs no more than that."""
    first_world(standin)
    worker = standin.install(tmp_path, sqlite_url, request_timeout_s=120.0, concurrency=8)
    silent = {off_id_of(10), off_id_of(40)}
    for off_id in silent:
        standin.script[off_id, ""] = lambda _: Reply(data=b"", before_s=100.0)
    expected = {
        (ref_of(off_id), area)
        for off_id in standin.people.keys() - silent
        for area in (SAFETY, PRIVACY)
    }
    running = worker.start("sync")
    wait_for(lambda: expected <= settled(worker), "the commit", timeout_s=60.0)
    assert running.process.poll() is None
    running.kill()
    standin.script.clear()
    begin = len(standin.asked)
    assert worker.sync().code == 0
    assert silent == {off_id for off_id, _ in standin.asked[begin:]}


def test_killed_while_it_publishes(standin: Standin, pair: Pair) -> None:
    """Killed around the last commits: readers see one night or the other, never half of one."""
    worker, undisturbed = pair
    dice = random.Random(SEED)
    old, new = worker.store.published(), undisturbed.store.published()
    views = ("report_patient_safety_current", "report_patient_privacy_current")
    people = 2 * len(standin.people)
    for _ in range(2):
        begin = len(standin.asked)
        left = people - len(settled(worker))
        running = worker.start("sync")
        wait_until_asked(standin, running, begin + left)
        time.sleep(dice.random() / 8)
        running.kill()
        seen = worker.store.published()
        for view in views:
            assert seen[view] in (old[view], new[view]), SEED
    assert worker.sync().code == 0, SEED
    assert new == worker.store.published(), SEED


def test_stopped_and_continued(standin: Standin, pair: Pair) -> None:
    """SIGTERM: 75 in time, what was complete is kept, the next run publishes the twin's state."""
    worker, undisturbed = pair
    before = worker.store.published()
    standin.delay_s = 0.05
    begin = len(standin.asked)
    running = worker.start("sync")
    wait_for(lambda: len(standin.asked) > begin + 20, "some searches")
    took_s = stop(running, signal.SIGTERM)
    ended = running.wait()
    assert (ended.code, ended.run["status"]) == (75, "interrupted")
    assert took_s < 20  # 10, and a busy machine
    # All but what was being asked at that moment was complete, and is kept.
    kept = settled(worker)
    assert len(asked_since(standin, begin)) - 2 * 4 <= len(kept)
    for view in ("report_patient_safety_current", "report_patient_safety_history"):
        assert before[view] == worker.store.published()[view]
    standin.delay_s = 0.0
    begin = len(standin.asked)
    again = worker.sync()
    assert (again.code, again.run["continued"]) == (0, True)
    assert set() == kept & asked_since(standin, begin)
    assert undisturbed.store.published() == worker.store.published()


def test_the_terminal_of_a_run_is_closed(standin: Standin, tmp_path: Path, sqlite_url: str) -> None:
    """It is stopped as by SIGTERM: what was read is kept, and the next run continues."""
    first_world(standin)
    worker = standin.install(tmp_path, sqlite_url)
    standin.delay_s = 0.3
    worker.configure(sync={"concurrency": 1})
    ours, theirs = pty.openpty()
    begin = len(standin.asked)
    arguments = [sys.executable, "-m", "worker", "--config", str(worker.config), "sync"]
    with subprocess.Popen(
        ["setsid", "--ctty", "env", "--default-signal=HUP", *arguments],
        cwd=worker.folder,
        env=environment(TERM="xterm-256color"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        wait_for(lambda: len(standin.asked) > begin + 2, "some searches")
        os.close(ours)
        assert process.wait(60) == 75
    standin.delay_s = 0.0
    again = worker.sync()
    assert (again.code, again.run["continued"]) == (0, True)


@pytest.mark.parametrize("command", ["sync", "schedule"])
def test_stopped_before_it_began(
    standin: Standin, tmp_path: Path, sqlite_url: str, command: str
) -> None:
    """SIGTERM while the program is still loading is 75 as well."""
    first_world(standin)
    worker = standin.install(tmp_path, sqlite_url)
    running = worker.start(command, afresh=True)
    # Python itself dies of the signal until our first lines have run.
    wait_for(lambda: _listens(running), "the program's first lines")
    running.signal(signal.SIGTERM)
    assert running.wait().code == 75


def _listens(running: Running) -> bool:
    """Whether the process has a handler for SIGTERM: proc(5), SigCgt."""
    status = Path(f"/proc/{running.process.pid}/status").read_text(encoding="ascii")
    caught = int(status.partition("SigCgt:")[2].split()[0], 16)
    return bool(caught >> (signal.SIGTERM - 1) & 1)


def stop(running: Running, number: int) -> float:
    """Send it, wait for the end, and tell how long that took."""
    began_s = time.monotonic()
    running.signal(number)
    running.process.wait(30)
    return time.monotonic() - began_s


def test_waiting_for_another_run(standin: Standin, tmp_path: Path, sqlite_url: str) -> None:
    """`--wait` outlasts the run that is on, says so once, and does its own; too short is 4."""
    first_world(standin)
    worker = standin.install(tmp_path, sqlite_url)
    standin.delay_s = 3.0  # 45 s in all, for the others to come in
    first = worker.start("sync")
    wait_for(lambda: standin.asked, "the first search")
    assert worker.sync("--wait", "1s").code == 4
    second = worker.start("sync", "--wait", "60s")
    wait_for(lambda: "lease.waiting" in second.tail(), "the second")
    standin.delay_s = 0.0
    assert first.wait().code == 0
    ended = second.wait()
    assert (ended.code, ended.run["continued"]) == (0, False)
    assert worker.store.runs() == [("published", 0), ("published", 0)]
    [reported] = [line for line in ended.err.splitlines() if '"lease.waiting"' in line]
    assert "another run holds the lease" in reported


def test_leaving_between_two_iterations(standin: Standin, tmp_path: Path, sqlite_url: str) -> None:
    """A person who was read before the kill and then left the roster is departed.

    Nothing that the first turn read of them is ever published: not what changed, not what was new,
    and nothing of a person whom only that turn met.
    """
    for number in range(16):
        person(standin, number, safeties=1)
    worker = standin.install(tmp_path, sqlite_url, concurrency=1, batch_persons=1)
    assert worker.sync().code == 0
    leaving, stranger = off_id_of(0), person(standin, 90, safeties=2, privacies=1)
    standin.people[leaving][SAFETY] = [
        safety(leaving, "0", confidentialityCode="N"),
        safety(leaving, "new"),
    ]
    ours = [line for line in standin.lines() if not line.startswith(stranger)]
    worker.roster(f"{stranger},{ref_of(stranger)}", *ours)
    standin.delay_s = 0.1
    running = worker.start("sync")
    goal = {(ref_of(off_id), area) for off_id in (leaving, stranger) for area in (SAFETY, PRIVACY)}
    wait_for(lambda: goal <= settled(worker), "both persons")
    running.kill()
    standin.delay_s = 0.0

    worker.roster(*ours[1:])
    ended = worker.sync()
    totals = ended.run["totals"]
    assert (ended.code, ended.run["continued"]) == (0, True)
    assert 15 == totals["persons_complete"] == totals["rows_read"] == totals["rows_unchanged"]
    assert {ref_of(off_id_of(number)) for number in range(1, 16)} == {
        ref for ref, _ in worker.store.ids()
    }
    assert set() == worker.store.ids("patient_privacy")
    history = {(row[0], row[1]) for row in worker.store.history()}
    assert (ref_of(leaving), f"S-{ref_of(leaving)}-new") not in history
    assert ref_of(stranger) not in {ref for ref, _ in history}
