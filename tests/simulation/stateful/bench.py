"""The processes of a stateful test at work on one store, and the model beside them.

Everything goes through the entry points that the program itself uses
(``tests.simulation.stateful.process``), and every reading through the real parsing of answers.
"""

from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from hypothesis import note
from structlog.testing import capture_logs

from tests.simulation.model.guard import Guard
from tests.simulation.model.state import Model
from tests.simulation.model.values import AREAS, Ending, Run
from tests.simulation.model.views import same
from tests.simulation.stateful.changes import World
from tests.simulation.stateful.checks import StoreChecks
from tests.simulation.stateful.process import (
    CONTINUE_WITHIN,
    Fuse,
    Ground,
    KilledError,
    Turn,
    begin,
    take_lease,
)
from tests.simulation.stateful.source import Source
from tests.simulation.stateful.telling import KEYS, Task, tell, tell_held
from worker.core.model import CompleteArea, PersonRead, RunKind
from worker.errors import ExitCode, WithheldError


class Bench:
    """One store, its source, and the process that holds the lease, if any."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.model = Model()
        self.turn: Turn | None = None
        self.world = World(
            source=Source(shape={}, names_person=False, pages=False),
            roster={},
        )
        self.checks = StoreChecks(ground=ground, model=self.model, world=self.world)

    @property
    def at_work(self) -> Turn:
        """The process that holds the lease."""
        assert self.turn is not None
        return self.turn

    def begin(self, kind, scope, roster, faults, dies) -> None:
        database = self.ground.mortal()
        held = self._living(database.fuse, dies, take_lease(database, self.ground.new_holder()))
        if held is None:
            self.bury()
            return
        expected = self._expected_beginning(kind, scope)
        now = self.ground.fake.now()
        turn = self._living(
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
        if turn is None:
            self.bury()
            return
        continued, undone = expected
        self.model.finish()
        for run in undone:
            self.model.end(run, "abandoned")
        handle = turn.handle
        assert handle.is_continued == (continued is not None)
        if continued is not None:
            assert continued.run_id == handle.run_id
            continued.status, continued.exit_code = "running", None
            continued.attempts[handle.attempt_id] = (0, 0)
        else:
            assert handle.run_id not in self.model.runs
            self.model.begin(handle.run_id, kind.value, scope, now, handle.attempt_id)
        database.fuse.left = None
        self.turn = turn

    def _expected_beginning(self, kind, scope) -> tuple[Run | None, list[Run]]:
        """The open run that is continued, and those that are undone (docs/architecture.md)."""
        now = self.ground.fake.now()
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
        turn = self.at_work
        turn.database.fuse.left = dies
        run, attempt = self.model.runs[turn.handle.run_id], turn.handle.attempt_id
        for start in range(0, len(chosen), size):
            batch = chosen[start : start + size]
            settled = self.do(turn.settled(batch))
            if settled is None:
                return False
            tasks = []
            for person in batch:
                done = self.model.settled(run, attempt, KEYS[person])
                same(done, settled.get(KEYS[person], set()), "settled")
                due = tuple(area for area in run.areas if area not in done)
                if due:
                    tasks.append((person, due))
            reads = self.do(turn.read(tasks))
            for _ in range(1 + twice):
                if reads is None or not self.write(tasks, reads):
                    return False
            self.ground.fake.advance(1.5)
        turn.database.fuse.left = None
        return True

    def write(self, tasks: Sequence[Task], reads: Sequence[PersonRead]) -> bool:
        """Write them, some after a second read; whether the process lived."""
        turn, source = self.at_work, self.world.source
        done = self.do(turn.store.apply(reads))
        if done is None:
            return False
        task_of = {read.person.person_key: task for task, read in zip(tasks, reads, strict=True)}
        held = {found.read.person.person_key for found in done.unconfirmed}
        written = [read for read in reads if read.person.person_key not in held]
        tell(self.model, source, turn, [task_of[r.person.person_key] for r in written], written)
        self._note_progress(written)
        if not held:
            return True
        waiting = [task_of[found.read.person.person_key] for found in done.unconfirmed]
        tell_held(self.model, turn, waiting)
        again = self.do(turn.read_again(done.unconfirmed))
        if again is None or (done := self.do(turn.store.apply(again))) is None:
            return False
        assert not done.unconfirmed
        tell(self.model, source, turn, waiting, again)
        self._note_progress(again)
        return True

    def _note_progress(self, written: Sequence[PersonRead]) -> None:
        if any(isinstance(area, CompleteArea) for read in written for area in read.areas):
            run = self.model.runs[self.at_work.handle.run_id]
            run.progressed_at = self.ground.fake.now()

    def publish(self, order, size, *, guard: Guard, dies: int | None) -> None:
        """Read those who are left, and publish; or have the guard withhold it."""
        turn = self.at_work
        roster = sorted(
            turn.roster, key=lambda person: order.index(person) if person in order else 9
        )
        assert self.read(roster, size, twice=False, dies=None)
        run = self.model.runs[turn.handle.run_id]
        run.attempts[turn.handle.attempt_id] = (40 + run.run_id, 3)
        outcome = self.model.outcome(
            run,
            Ending(
                roster=[KEYS[person] for person in turn.roster],
                may_depart=turn.may_depart,
                roster_errors=turn.roster_faults,
            ),
        )
        is_withheld = guard.withholds(outcome.facts)
        turn.database.fuse.left = dies
        logs: Sequence[Mapping[str, Any]] = ()
        try:
            with capture_logs() as logs:
                done = self.do(turn.publish(guard, turn.progress(40 + run.run_id, 3)))
        except WithheldError as fault:
            assert is_withheld
            self.checks.check_facts(outcome, logs)
            run.attempts[turn.handle.attempt_id] = (0, 0)
            self._withhold(run, fault.message, dies)
            return
        if done is None:
            if not self.checks.is_published(run.run_id):
                run.attempts[turn.handle.attempt_id] = (0, 0)
                return
        else:
            same(outcome.totals, done.totals, "totals")
        assert not is_withheld
        self.checks.check_facts(outcome, logs)
        self.model.publish(run, outcome, self.ground.fake.now())
        if done is not None:
            assert run.published_at == done.published_at
            self._leave_turn()
        self.checks.check_other_readers()

    def _withhold(self, run: Run, reason: str, dies: int | None) -> None:
        turn = self.at_work

        async def withhold() -> bool:
            await turn.store.withhold(reason)
            return True

        turn.database.fuse.left = dies
        if self.do(withhold()) is not None:
            self.model.end(run, "withheld")
            run.exit_code = ExitCode.WITHHELD
            self._leave_turn()

    def interrupt(self, dies: int | None) -> None:
        turn = self.at_work
        run = self.model.runs[turn.handle.run_id]

        async def interrupt() -> bool:
            await turn.store.interrupt(ExitCode.STOPPED, "stopped", turn.progress(7, 1))
            return True

        turn.database.fuse.left = dies
        if self.do(interrupt()) is not None:
            run.status, run.exit_code = "interrupted", ExitCode.STOPPED
            run.attempts[turn.handle.attempt_id] = (7, 1)
            self._leave_turn()

    def _leave_turn(self) -> None:
        turn = self.at_work
        turn.database.fuse.left = None
        self.ground.do(turn.lease.release())
        self.turn = None

    def do(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Let the process do it; None if it died meanwhile."""
        fuse = self.at_work.database.fuse
        result = self._living(fuse, fuse.left, coroutine)
        if result is None:
            self.bury()
        return result

    def _living(self, fuse: Fuse, left: int | None, coroutine: Coroutine[Any, Any, Any]) -> Any:
        fuse.left = left
        try:
            return self.ground.do(coroutine)
        except KilledError:
            note("the process died")
            return None

    def bury(self) -> None:
        """The process is dead: its lease runs out, and the ledger tells what it still did."""
        self.turn = None
        self.ground.end_lease()
        for row in self.checks.look().tables["runs"]:
            run = self.model.runs.get(row["run_id"])
            if run is None:
                attempts = self.ground.attempts()
                (attempt,) = [one for one, of in attempts.items() if of == row["run_id"]]
                scope = tuple(area for area in AREAS if area in row["areas"])
                self.model.begin(row["run_id"], row["kind"], scope, row["started_at"], attempt)
            elif run.is_open and row["status"] in {"abandoned", "withheld"}:
                self.model.end(run, row["status"], is_undone=False)
                run.exit_code = row["exit_code"]
            elif run.is_open and row["status"] != "published":
                run.status, run.exit_code = row["status"], row["exit_code"]
