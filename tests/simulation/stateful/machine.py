"""The store and the model side by side, driven by Hypothesis.

Everything goes through the entry points that the program itself uses
(``tests.simulation.stateful.process``), and every reading through the real parsing of answers.
"""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from structlog.testing import capture_logs

from tests.simulation.model.guard import Guard
from tests.simulation.model.state import Model
from tests.simulation.model.values import AREAS, PRIVACY, SAFETY, Ending, Run
from tests.simulation.model.views import same
from tests.simulation.stateful.changes import World, areas, edits, letters, persons, picks
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
from tests.simulation.stateful.source import PERSONS, Source
from tests.simulation.stateful.telling import KEYS, Task, tell, tell_held
from worker.core.model import CompleteArea, PersonRead, RunKind
from worker.errors import ExitCode, LeaseHeldError, LeaseLostError, WithheldError

deaths = st.sampled_from([None, None, None, None, None, 0, 1, 2, 3])
orders = st.permutations(PERSONS)
sizes = st.integers(1, 4)
PUBLISHES = Guard(max_removed_share=1.0, min_completeness=0.0, accept_removals=True)
WITHHOLDS = Guard(max_removed_share=0.0, min_completeness=2.0)
"""Any run but a backfill that removes little."""
some_guards = st.builds(
    Guard,
    max_removed_share=st.sampled_from([0.0, 0.1, 0.4]),
    min_completeness=st.sampled_from([0.0, 0.5, 0.9, 1.0]),
    accept_removals=st.booleans(),
)
guards = st.one_of(st.just(PUBLISHES), st.just(PUBLISHES), some_guards, st.just(WITHHOLDS))
scopes = st.sampled_from([AREAS, AREAS, AREAS, (SAFETY,), (PRIVACY,)])


class StoreMachine(RuleBasedStateMachine):
    """One store, its source, and the processes that work on it."""

    ground: Ground
    """The database of all examples."""

    def __init__(self) -> None:
        super().__init__()
        self.ground.clear()
        self.model = Model()
        self.turn: Turn | None = None
        self.ghost: Turn | None = None
        self.world = World(
            source=Source(shape={}, names_person=False, pages=False),
            roster={},
        )
        self.checks = StoreChecks(ground=self.ground, model=self.model, world=self.world)

    @property
    def at_work(self) -> Turn:
        """The process that holds the lease."""
        assert self.turn is not None
        return self.turn

    def teardown(self) -> None:
        self.ground.check()

    @initialize(
        shape=st.fixed_dictionaries(
            {
                SAFETY: st.sampled_from(["id", "id", "composite", "digest"]),
                PRIVACY: st.sampled_from(["id", "id", "digest"]),
            }
        ),
        names_person=st.booleans(),
        pages=st.booleans(),
        held=st.lists(st.tuples(persons, areas, letters, picks), max_size=8),
        listed=st.sets(persons, min_size=1),
    )
    def found(self, shape, names_person, pages, held, listed) -> None:
        self.world.source = Source(shape=shape, names_person=names_person, pages=pages)
        self.world.roster = dict.fromkeys(sorted(listed))
        for one in held:
            self.world.put(*one)

    # The world

    @rule(changes=edits)
    def change_world(self, changes) -> None:
        self.world.carry_out(changes)

    @rule(hours=st.sampled_from([0.001, 1, 7, 13, 24, 49, -1.5]))
    def wait(self, hours) -> None:
        """Time passes; or someone sets the clock back."""
        self.ground.fake.set_wall_clock(self.ground.fake.now() + timedelta(hours=hours))

    # Turns at a run

    @precondition(lambda self: self.turn is None)
    @rule(
        kind=st.sampled_from([RunKind.SYNC, RunKind.SYNC, RunKind.BACKFILL]),
        scope=scopes,
        chosen=st.lists(persons, min_size=1, unique=True),
        faults=st.sampled_from([0, 0, 0, 1]),
        dies=deaths,
    )
    def begin(self, kind, scope, chosen, faults, dies) -> None:
        roster = dict(self.world.roster)
        if kind == RunKind.BACKFILL:
            roster = {person: self.world.roster.get(person) for person in chosen}
        self._begin(kind, scope, roster, faults, dies)

    @precondition(lambda self: self.turn is None)
    @rule(changes=edits, order=orders, size=sizes, cured=st.booleans())
    def night(self, changes, order, size, cured) -> None:
        """A night without disturbance, to come further."""
        self.world.carry_out(changes)
        if cured:
            self.world.heal()
        roster = dict(self.world.roster)
        self._begin(RunKind.SYNC, AREAS, roster, 0, None)
        self._publish(order, size, guard=PUBLISHES, dies=None)

    @precondition(lambda self: self.turn is None)
    @rule(changes=edits, order=orders, guard=some_guards)
    def guarded_night(self, changes, order, guard) -> None:
        """A night under the guard's eyes; what it withholds, a person may accept the next day."""
        self.world.carry_out(changes)
        self._begin(RunKind.SYNC, AREAS, dict(self.world.roster), 0, None)
        self._publish(order, 2, guard=guard, dies=None)
        if self.model.last_run.status == "withheld":
            accepts = replace(guard, accept_removals=True, min_completeness=0.0)
            self._begin(RunKind.SYNC, AREAS, dict(self.world.roster), 0, None)
            self._publish(order, 2, guard=accepts, dies=None)

    @precondition(lambda self: self.turn is None)
    @rule(
        parts=st.lists(
            st.tuples(edits, orders, sizes, st.booleans(), st.sampled_from([0, 0, 0.5, 5])),
            min_size=1,
            max_size=3,
        ),
        publishes=st.booleans(),
    )
    def night_in_parts(self, parts, publishes) -> None:
        """A run that several processes continue one after the other, and may or may not end."""
        for changes, order, count, stops, hours in parts:
            self.world.carry_out(changes)
            roster = dict(self.world.roster)
            self._begin(RunKind.SYNC, AREAS, roster, 0, None)
            self._read([one for one in order if one in roster][:count], 2, twice=False, dies=None)
            if stops:
                self._interrupt(None)
            else:
                self._bury()
            self.ground.fake.advance(3600 * hours)
        if publishes:
            self._begin(RunKind.SYNC, AREAS, dict(self.world.roster), 0, None)
            self._publish(parts[0][1], 2, guard=PUBLISHES, dies=None)

    @precondition(lambda self: self.turn is None)
    @rule(changes=edits, chosen=st.lists(persons, min_size=1, unique=True), scope=scopes)
    def task(self, changes, chosen, scope) -> None:
        """A backfill of some persons, published; maybe beside a sync that is to be continued."""
        self.world.carry_out(changes)
        roster = {person: self.world.roster.get(person) for person in chosen}
        self._begin(RunKind.BACKFILL, scope, roster, 0, None)
        self._publish(chosen, 2, guard=PUBLISHES, dies=None)

    def _begin(self, kind, scope, roster, faults, dies) -> None:
        database = self.ground.mortal()
        held = self._living(database.fuse, dies, take_lease(database, self.ground.new_holder()))
        if held is None:
            self._bury()
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
            self._bury()
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

    @precondition(lambda self: self.turn is not None)
    @rule(order=orders, count=sizes, size=sizes, twice=st.booleans(), dies=deaths)
    def read(self, order, count, size, twice, dies) -> None:
        """Some persons of the roster, in batches; maybe a commit whose reply was lost."""
        roster = [person for person in order if person in self.at_work.roster]
        self._read(roster[:count], size, twice=twice, dies=dies)

    def _read(self, chosen: Sequence[str], size: int, *, twice: bool, dies: int | None) -> bool:
        """Whether the process lived."""
        turn = self.at_work
        turn.database.fuse.left = dies
        run, attempt = self.model.runs[turn.handle.run_id], turn.handle.attempt_id
        for start in range(0, len(chosen), size):
            batch = chosen[start : start + size]
            settled = self._do(turn.settled(batch))
            if settled is None:
                return False
            tasks = []
            for person in batch:
                done = self.model.settled(run, attempt, KEYS[person])
                same(done, settled.get(KEYS[person], set()), "settled")
                due = tuple(area for area in run.areas if area not in done)
                if due:
                    tasks.append((person, due))
            reads = self._do(turn.read(tasks))
            for _ in range(1 + twice):
                if reads is None or not self._write(tasks, reads):
                    return False
            self.ground.fake.advance(1.5)
        turn.database.fuse.left = None
        return True

    def _write(self, tasks: Sequence[Task], reads: Sequence[PersonRead]) -> bool:
        """Write them, some after a second read; whether the process lived."""
        turn, source = self.at_work, self.world.source
        done = self._do(turn.store.apply(reads))
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
        again = self._do(turn.read_again(done.unconfirmed))
        if again is None or (done := self._do(turn.store.apply(again))) is None:
            return False
        assert not done.unconfirmed
        tell(self.model, source, turn, waiting, again)
        self._note_progress(again)
        return True

    def _note_progress(self, written: Sequence[PersonRead]) -> None:
        if any(isinstance(area, CompleteArea) for read in written for area in read.areas):
            run = self.model.runs[self.at_work.handle.run_id]
            run.progressed_at = self.ground.fake.now()

    @precondition(lambda self: self.turn is not None)
    @rule(pick=picks)
    def read_again(self, pick) -> None:
        """The same person a second time in one run: only the last reading counts."""
        turn = self.at_work
        run = self.model.runs[turn.handle.run_id]
        places = [
            (person, area)
            for person in turn.roster
            for area in run.areas
            if (KEYS[person], area) in run.readings
            and (person, area) not in self.world.source.troubles
        ]
        if places:
            person, area = places[pick % len(places)]
            tasks = [(person, (area,))]
            assert self._write(tasks, self._do(turn.read(tasks)))

    # How a turn ends

    @precondition(lambda self: self.turn is not None)
    @rule(order=orders, size=sizes, guard=guards, dies=deaths)
    def publish(self, order, size, guard, dies) -> None:
        self._publish(order, size, guard=guard, dies=dies)

    def _publish(self, order, size, *, guard: Guard, dies: int | None) -> None:
        """Read whoever is left, and publish; or have the guard withhold it."""
        turn = self.at_work
        roster = sorted(
            turn.roster, key=lambda person: order.index(person) if person in order else 9
        )
        assert self._read(roster, size, twice=False, dies=None)
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
                done = self._do(turn.publish(guard, turn.progress(40 + run.run_id, 3)))
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
        if self._do(withhold()) is not None:
            self.model.end(run, "withheld")
            run.exit_code = ExitCode.WITHHELD
            self._leave_turn()

    @precondition(lambda self: self.turn is not None)
    @rule(dies=deaths)
    def interrupt(self, dies) -> None:
        """Stopped on request, or because a service is unavailable."""
        self._interrupt(dies)

    def _interrupt(self, dies: int | None) -> None:
        turn = self.at_work
        run = self.model.runs[turn.handle.run_id]

        async def interrupt() -> bool:
            await turn.store.interrupt(ExitCode.STOPPED, "stopped", turn.progress(7, 1))
            return True

        turn.database.fuse.left = dies
        if self._do(interrupt()) is not None:
            run.status, run.exit_code = "interrupted", ExitCode.STOPPED
            run.attempts[turn.handle.attempt_id] = (7, 1)
            self._leave_turn()

    @precondition(lambda self: self.turn is not None)
    @rule()
    def die(self) -> None:
        self._bury()

    def _leave_turn(self) -> None:
        turn = self.at_work
        turn.database.fuse.left = None
        self.ground.do(turn.lease.release())
        self.turn = None

    def _do(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Let the process do it; None if it died meanwhile."""
        fuse = self.at_work.database.fuse
        result = self._living(fuse, fuse.left, coroutine)
        if result is None:
            self._bury()
        return result

    def _living(self, fuse: Fuse, left: int | None, coroutine: Coroutine[Any, Any, Any]) -> Any:
        fuse.left = left
        try:
            return self.ground.do(coroutine)
        except KilledError:
            note("the process died")
            return None

    def _bury(self) -> None:
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

    # Two at once

    @precondition(lambda self: self.turn is not None)
    @rule()
    def another_asks_for_the_lease(self) -> None:
        """The lease is held: nothing happens."""
        with pytest.raises(LeaseHeldError):
            self.ground.do(take_lease(self.ground.database, self.ground.new_holder()))

    @precondition(lambda self: self.turn is not None)
    @rule(kind=st.sampled_from([RunKind.SYNC, RunKind.BACKFILL]), scope=scopes)
    def pause_and_be_overtaken(self, kind, scope) -> None:
        """The holder is paused past its lease, and another process goes on."""
        self.ghost = self.turn
        self.turn = None
        self.ground.end_lease()
        self._begin(kind, scope, dict(self.world.roster), 0, None)

    @precondition(lambda self: self.ghost is not None)
    @rule(deed=st.sampled_from(["write", "publish", "withhold", "interrupt", "renew", "release"]))
    def wake_up_and_write(self, deed) -> None:
        """Who was overtaken cannot write any more, nor give back what is another's."""
        ghost = self.ghost
        assert ghost is not None
        reads = self.ground.do(
            ghost.read([(person, ghost.handle.areas) for person in ghost.roster])
        )
        deeds: Mapping[str, Callable[[], Coroutine[Any, Any, Any]]] = {
            "write": lambda: ghost.store.apply(reads),
            "publish": lambda: ghost.publish(PUBLISHES, ghost.progress(9, 9)),
            "withhold": lambda: ghost.store.withhold("ghost"),
            "interrupt": lambda: ghost.store.interrupt(
                ExitCode.STOPPED, "ghost", ghost.progress(9, 9)
            ),
            "renew": ghost.store.renew,
        }
        if deed == "release":
            self.ground.do(ghost.lease.release())
            return
        with pytest.raises(LeaseLostError):
            self.ground.do(deeds[deed]())

    # What readers see

    @invariant()
    def readers_see_what_was_published(self) -> None:
        self.checks.check_views()
