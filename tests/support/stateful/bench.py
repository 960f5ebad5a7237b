"""The processes of a stateful test at work on one store, and the model beside them.

Everything goes through the entry points that the program itself uses
(``tests.support.stateful.attempts``), and every reading through the real parsing of answers.
"""

from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from hypothesis import note
from structlog.testing import capture_logs

from tests.support.model.guard import Guard
from tests.support.model.state import Model
from tests.support.model.values import AREAS, Ending, Run
from tests.support.model.views import same
from tests.support.stateful.attempts import (
    CONTINUE_WITHIN,
    Fuse,
    KilledError,
    ProcessAtWork,
    StoreUnderTest,
    begin,
    take_lease,
)
from tests.support.stateful.checks import StoreChecks
from tests.support.stateful.edits import EditedWorld
from tests.support.stateful.recording import KEYS, Task, record_batch, record_unconfirmed
from tests.support.stateful.source import Source
from worker.core.model import CompleteArea, PersonRead, RunKind
from worker.errors import ExitCode, WithheldError


class Bench:
    """One store, its source, and the process that holds the lease, if any."""

    def __init__(self, store: StoreUnderTest) -> None:
        self.store = store
        self.model = Model()
        self.attempt: ProcessAtWork | None = None
        self.world = EditedWorld(
            source=Source(),
            roster={},
        )
        self.checks = StoreChecks(store=store, model=self.model)

    @property
    def at_work(self) -> ProcessAtWork:
        """The process that holds the lease."""
        assert self.attempt is not None
        return self.attempt

    def begin(self, kind, scope, roster, faults, dies) -> None:
        database = self.store.mortal()
        held = self._living(database.fuse, dies, take_lease(database, self.store.new_holder()))
        if held is None:
            self.process_died()
            return
        expected = self._expected_beginning(kind, scope)
        now = self.store.fake.now()
        attempt = self._living(
            database.fuse,
            database.fuse.left,
            begin(
                database,
                held,
                self.world.source,
                kind=kind,
                areas=scope,
                roster=roster,
                roster_faults=faults,
            ),
        )
        if attempt is None:
            self.process_died()
            return
        continued, undone = expected
        for run in undone:
            self.model.end(run, "abandoned")
        handle = attempt.handle
        assert handle.is_continued == (continued is not None)
        if continued is not None:
            assert continued.run_id == handle.run_id
            continued.status, continued.exit_code = "running", None
            continued.attempts[handle.attempt_id] = (0, 0)
        else:
            assert handle.run_id not in self.model.runs
            self.model.begin(handle.run_id, kind.value, scope, now, handle.attempt_id)
        database.fuse.left = None
        self.attempt = attempt

    def _expected_beginning(self, kind, scope) -> tuple[Run | None, list[Run]]:
        """The open run that is continued, and those that are undone (docs/architecture.md)."""
        now = self.store.fake.now()
        continued, undone = None, []
        for run in self.model.open_runs():
            is_same = run.kind == kind == "sync" and run.areas == scope
            if is_same and now - (run.progressed_at or run.started_at) <= CONTINUE_WITHIN:
                continued = run
            elif kind == RunKind.SYNC or run.kind == "backfill":
                undone.append(run)
        return continued, undone

    def read(self, chosen: Sequence[str], size: int, *, twice: bool, dies: int | None) -> bool:
        """Whether the process lived."""
        attempt = self.at_work
        attempt.database.fuse.left = dies
        run, attempt_id = self.model.runs[attempt.handle.run_id], attempt.handle.attempt_id
        for start in range(0, len(chosen), size):
            batch = chosen[start : start + size]
            settled = self.do(attempt.settled(batch))
            if settled is None:
                return False
            tasks = []
            for person in batch:
                done = self.model.settled(run, attempt_id, KEYS[person])
                same(done, settled.get(KEYS[person], set()), "settled")
                due = tuple(area for area in run.areas if area not in done)
                if due:
                    tasks.append((person, due))
            reads = self.do(attempt.read(tasks))
            for _ in range(1 + twice):
                if reads is None or not self.write(tasks, reads):
                    return False
            self.store.fake.advance(1.5)
        attempt.database.fuse.left = None
        return True

    def write(self, tasks: Sequence[Task], reads: Sequence[PersonRead]) -> bool:
        """Write them, some after a second read; whether the process lived."""
        attempt, source = self.at_work, self.world.source
        done = self.do(attempt.store.apply(reads))
        if done is None:
            return False
        task_of = {read.person.person_key: task for task, read in zip(tasks, reads, strict=True)}
        held = {found.read.person.person_key for found in done.unconfirmed}
        written = [read for read in reads if read.person.person_key not in held]
        record_batch(
            self.model, source, attempt, [task_of[r.person.person_key] for r in written], written
        )
        self._note_progress(written)
        if not held:
            return True
        waiting = [task_of[found.read.person.person_key] for found in done.unconfirmed]
        record_unconfirmed(self.model, attempt, waiting)
        again = self.do(attempt.read_again(done.unconfirmed))
        if again is None or (done := self.do(attempt.store.apply(again))) is None:
            return False
        assert not done.unconfirmed
        record_batch(self.model, source, attempt, waiting, again)
        self._note_progress(again)
        return True

    def _note_progress(self, written: Sequence[PersonRead]) -> None:
        if any(isinstance(area, CompleteArea) for read in written for area in read.areas):
            run = self.model.runs[self.at_work.handle.run_id]
            run.progressed_at = self.store.fake.now()

    def publish(self, order, size, *, guard: Guard, dies: int | None) -> None:
        """Read those who are left, and publish; or have the guard withhold it."""
        attempt = self.at_work
        roster = sorted(
            attempt.roster, key=lambda person: order.index(person) if person in order else 9
        )
        assert self.read(roster, size, twice=False, dies=None)
        run = self.model.runs[attempt.handle.run_id]
        run.attempts[attempt.handle.attempt_id] = (40 + run.run_id, 3)
        outcome = self.model.outcome(
            run,
            Ending(
                roster=[KEYS[person] for person in attempt.roster],
                may_depart=attempt.may_depart,
                roster_errors=attempt.roster_faults,
            ),
        )
        is_withheld = guard.withholds(outcome.facts)
        attempt.database.fuse.left = dies
        logs: Sequence[Mapping[str, Any]] = ()
        try:
            with capture_logs() as logs:
                done = self.do(attempt.publish(guard, attempt.progress(40 + run.run_id, 3)))
        except WithheldError as fault:
            assert is_withheld
            self.checks.check_facts(outcome, logs)
            run.attempts[attempt.handle.attempt_id] = (0, 0)
            self._withhold(run, fault.message, dies)
            return
        if done is None:
            if not self.checks.is_published(run.run_id):
                run.attempts[attempt.handle.attempt_id] = (0, 0)
                return
        else:
            same(outcome.totals, done.totals, "totals")
        assert not is_withheld
        self.checks.check_facts(outcome, logs)
        self.model.publish(run, outcome, self.store.fake.now())
        if done is not None:
            assert run.published_at == done.published_at
            self._end_attempt()

    def _withhold(self, run: Run, reason: str, dies: int | None) -> None:
        attempt = self.at_work

        async def withhold() -> bool:
            await attempt.store.withhold(reason)
            return True

        attempt.database.fuse.left = dies
        if self.do(withhold()) is not None:
            self.model.end(run, "withheld")
            run.exit_code = ExitCode.WITHHELD
            self._end_attempt()

    def interrupt(self, dies: int | None) -> None:
        attempt = self.at_work
        run = self.model.runs[attempt.handle.run_id]

        async def interrupt() -> bool:
            await attempt.store.interrupt(ExitCode.STOPPED, "stopped", attempt.progress(7, 1))
            return True

        attempt.database.fuse.left = dies
        if self.do(interrupt()) is not None:
            run.status, run.exit_code = "interrupted", ExitCode.STOPPED
            run.attempts[attempt.handle.attempt_id] = (7, 1)
            self._end_attempt()

    def _end_attempt(self) -> None:
        attempt = self.at_work
        attempt.database.fuse.left = None
        self.store.do(attempt.lease.release())
        self.attempt = None

    def do(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Let the process do it; None if it died meanwhile."""
        fuse = self.at_work.database.fuse
        result = self._living(fuse, fuse.left, coroutine)
        if result is None:
            self.process_died()
        return result

    def _living(self, fuse: Fuse, left: int | None, coroutine: Coroutine[Any, Any, Any]) -> Any:
        fuse.left = left
        try:
            return self.store.do(coroutine)
        except KilledError:
            note("the process died")
            return None

    def process_died(self) -> None:
        """The process is dead: its lease runs out, and the ledger tells what it still did."""
        self.attempt = None
        self.store.end_lease()
        for row in self.checks.look().tables["runs"]:
            run = self.model.runs.get(row["run_id"])
            if run is None:
                attempts = self.store.attempts()
                (attempt_id,) = [one for one, of in attempts.items() if of == row["run_id"]]
                scope = tuple(area for area in AREAS if area in row["areas"])
                self.model.begin(row["run_id"], row["kind"], scope, row["started_at"], attempt_id)
            elif run.is_open and row["status"] in {"abandoned", "withheld"}:
                self.model.end(run, row["status"])
                run.exit_code = row["exit_code"]
            elif run.is_open and row["status"] != "published":
                run.status, run.exit_code = row["status"], row["exit_code"]
