"""The store and the model side by side, driven by Hypothesis."""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.support.model.guard import Guard
from tests.support.model.values import AREAS, PRIVACY, SAFETY
from tests.support.stateful.attempts import ProcessAtWork, StoreUnderTest, take_lease
from tests.support.stateful.bench import Bench
from tests.support.stateful.edits import areas, edits, letters, persons, picks
from tests.support.stateful.recording import KEYS
from tests.support.stateful.source import PERSONS, Source
from worker.core.model import RunKind
from worker.errors import ExitCode, LeaseHeldError, LeaseLostError

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

    store: StoreUnderTest
    """The database of all examples."""

    def __init__(self) -> None:
        super().__init__()
        self.store.clear()
        self.bench = Bench(self.store)
        self.ghost: ProcessAtWork | None = None

    def teardown(self) -> None:
        self.store.check()

    @initialize(
        names_person=st.booleans(),
        held=st.lists(st.tuples(persons, areas, letters, picks), max_size=8),
        listed=st.sets(persons, min_size=1),
    )
    def found(self, names_person, held, listed) -> None:
        self.bench.world.source = Source(names_person=names_person)
        self.bench.world.roster = dict.fromkeys(sorted(listed))
        for one in held:
            self.bench.world.put(*one)

    # The world

    @rule(changes=edits)
    def change_world(self, changes) -> None:
        self.bench.world.carry_out(changes)

    @rule(hours=st.sampled_from([0.001, 1, 7, 13, 24, 49, -1.5]))
    def wait(self, hours) -> None:
        """Time passes; or someone sets the clock back."""
        self.store.fake.set_wall_clock(self.store.fake.now() + timedelta(hours=hours))

    # Turns at a run

    @precondition(lambda self: self.bench.attempt is None)
    @rule(
        kind=st.sampled_from([RunKind.SYNC, RunKind.SYNC, RunKind.BACKFILL]),
        scope=scopes,
        chosen=st.lists(persons, min_size=1, unique=True),
        faults=st.sampled_from([0, 0, 0, 1]),
        dies=deaths,
    )
    def begin(self, kind, scope, chosen, faults, dies) -> None:
        roster = dict(self.bench.world.roster)
        if kind == RunKind.BACKFILL:
            roster = {person: self.bench.world.roster.get(person) for person in chosen}
        self.bench.begin(kind, scope, roster, faults, dies)

    @precondition(lambda self: self.bench.attempt is None)
    @rule(changes=edits, order=orders, size=sizes, cured=st.booleans())
    def night(self, changes, order, size, cured) -> None:
        """A night without disturbance, to come further."""
        self.bench.world.carry_out(changes)
        if cured:
            self.bench.world.heal()
        roster = dict(self.bench.world.roster)
        self.bench.begin(RunKind.SYNC, AREAS, roster, 0, None)
        self.bench.publish(order, size, guard=PUBLISHES, dies=None)

    @precondition(lambda self: self.bench.attempt is None)
    @rule(changes=edits, order=orders, guard=some_guards)
    def guarded_night(self, changes, order, guard) -> None:
        """A night under the guard's eyes; what it withholds, a person may accept the next day."""
        self.bench.world.carry_out(changes)
        self.bench.begin(RunKind.SYNC, AREAS, dict(self.bench.world.roster), 0, None)
        self.bench.publish(order, 2, guard=guard, dies=None)
        if self.bench.model.last_run.status == "withheld":
            accepts = replace(guard, accept_removals=True, min_completeness=0.0)
            self.bench.begin(RunKind.SYNC, AREAS, dict(self.bench.world.roster), 0, None)
            self.bench.publish(order, 2, guard=accepts, dies=None)

    @precondition(lambda self: self.bench.attempt is None)
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
            self.bench.world.carry_out(changes)
            roster = dict(self.bench.world.roster)
            self.bench.begin(RunKind.SYNC, AREAS, roster, 0, None)
            self.bench.read(
                [one for one in order if one in roster][:count], 2, twice=False, dies=None
            )
            if stops:
                self.bench.interrupt(None)
            else:
                self.bench.process_died()
            self.store.fake.advance(3600 * hours)
        if publishes:
            self.bench.begin(RunKind.SYNC, AREAS, dict(self.bench.world.roster), 0, None)
            self.bench.publish(parts[0][1], 2, guard=PUBLISHES, dies=None)

    @precondition(lambda self: self.bench.attempt is None)
    @rule(changes=edits, chosen=st.lists(persons, min_size=1, unique=True), scope=scopes)
    def task(self, changes, chosen, scope) -> None:
        """A backfill of some persons, published; maybe beside a sync that is to be continued."""
        self.bench.world.carry_out(changes)
        roster = {person: self.bench.world.roster.get(person) for person in chosen}
        self.bench.begin(RunKind.BACKFILL, scope, roster, 0, None)
        self.bench.publish(chosen, 2, guard=PUBLISHES, dies=None)

    @precondition(lambda self: self.bench.attempt is not None)
    @rule(order=orders, count=sizes, size=sizes, twice=st.booleans(), dies=deaths)
    def read(self, order, count, size, twice, dies) -> None:
        """Some persons of the roster, in batches; maybe a commit whose reply was lost."""
        roster = [person for person in order if person in self.bench.at_work.roster]
        self.bench.read(roster[:count], size, twice=twice, dies=dies)

    @precondition(lambda self: self.bench.attempt is not None)
    @rule(pick=picks)
    def read_again(self, pick) -> None:
        """The same person a second time in one run: only the last reading counts."""
        attempt = self.bench.at_work
        run = self.bench.model.runs[attempt.handle.run_id]
        places = [
            (person, area)
            for person in attempt.roster
            for area in run.areas
            if (KEYS[person], area) in run.readings
            and (person, area) not in self.bench.world.source.troubles
        ]
        if places:
            person, area = places[pick % len(places)]
            tasks = [(person, (area,))]
            assert self.bench.write(tasks, self.bench.do(attempt.read(tasks)))

    # How an attempt ends

    @precondition(lambda self: self.bench.attempt is not None)
    @rule(order=orders, size=sizes, guard=guards, dies=deaths)
    def publish(self, order, size, guard, dies) -> None:
        self.bench.publish(order, size, guard=guard, dies=dies)

    @precondition(lambda self: self.bench.attempt is not None)
    @rule(dies=deaths)
    def interrupt(self, dies) -> None:
        """Stopped on request, or because a service is unavailable."""
        self.bench.interrupt(dies)

    @precondition(lambda self: self.bench.attempt is not None)
    @rule()
    def die(self) -> None:
        self.bench.process_died()

    @precondition(lambda self: self.bench.attempt is not None)
    @rule()
    def another_asks_for_the_lease(self) -> None:
        """The lease is held: nothing happens."""
        with pytest.raises(LeaseHeldError):
            self.store.do(take_lease(self.store.database, self.store.new_holder()))

    @precondition(lambda self: self.bench.attempt is not None)
    @rule(kind=st.sampled_from([RunKind.SYNC, RunKind.BACKFILL]), scope=scopes)
    def pause_and_be_overtaken(self, kind, scope) -> None:
        """The holder is paused past its lease, and another process goes on."""
        self.ghost = self.bench.attempt
        self.bench.attempt = None
        self.store.end_lease()
        self.bench.begin(kind, scope, dict(self.bench.world.roster), 0, None)

    @precondition(lambda self: self.ghost is not None)
    @rule(deed=st.sampled_from(["write", "publish", "withhold", "interrupt", "renew", "release"]))
    def wake_up_and_write(self, deed) -> None:
        """Who was overtaken cannot write any more, nor give back what is another's."""
        ghost = self.ghost
        assert ghost is not None
        reads = self.store.do(ghost.read([(person, ghost.handle.areas) for person in ghost.roster]))
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
            self.store.do(ghost.lease.release())
            return
        with pytest.raises(LeaseLostError):
            self.store.do(deeds[deed]())

    # What readers see

    @invariant()
    def readers_see_what_was_published(self) -> None:
        self.bench.checks.check_views()
