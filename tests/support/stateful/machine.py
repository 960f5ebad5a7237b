"""The complete worker under Hypothesis: any sequence of changes, nights, deaths and verdicts.

World, processes and judge are those of the simulation. There a seed chooses what happens; here
Hypothesis does, and makes a sequence that fails smaller. The weather is good, so that what a night
comes to is known before it begins.
"""

import copy
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from structlog.testing import capture_logs

from tests.support.model.guard import Guard
from tests.support.model.values import AREAS, PRIVACY, SAFETY, Ending, expect
from tests.support.model.views import same
from tests.support.simulation.changes import Changes
from tests.support.simulation.nth_call import apart
from tests.support.simulation.process import Trouble
from tests.support.simulation.stage import Line, Outcome, Stage
from tests.support.simulation.weather import KINDS
from worker.core.guard import GuardFacts
from worker.core.model import RunKind

PERSONS = 5
CONTINUE_WITHIN_H = 12
DEEDS = ("change_world", "change_world", "share", "edit_roster", "lose_much", "find_again")
"""Of ``Changes``, but for one."""
draws = st.randoms(use_true_random=False)
deeds = st.lists(st.sampled_from(DEEDS), min_size=1, max_size=4)
scopes = st.sampled_from([AREAS, AREAS, AREAS, (SAFETY,), (PRIVACY,)])
PUBLISHES = Guard(max_removed_share=1.0, min_completeness=0.0, first_min_completeness=0.0)
guards = st.builds(
    Guard,
    max_removed_share=st.sampled_from([0.0, 0.1, 0.4]),
    min_completeness=st.sampled_from([0.0, 0.5, 0.9, 1.0]),
    first_min_completeness=st.sampled_from([0.0, 0.95]),
    accept_removals=st.booleans(),
)
World = tuple[Stage, Callable[[Any], Any]]
"""A stage, and what runs something in it to its end."""


class NightsMachine(RuleBasedStateMachine):
    """One store, PTS and a roster, and the processes that meet them one after the other.

    Attributes:
        begin: makes the world of an example.
        end: takes it away.
        troubles: what may befall a process.
    """

    begin: Callable[[], World]
    end: Callable[[Stage], None]
    troubles: st.SearchStrategy[Trouble | None]

    def __init__(self) -> None:
        super().__init__()
        self.stage, self.play = type(self).begin()
        self.changes = Changes(self.stage, random.Random(1))
        self.failing: list[dict[str, Any]] = []
        self.judged: dict[int, Mapping[str, Any]] = {}

    def teardown(self) -> None:
        self.stage.close()
        type(self).end(self.stage)

    @initialize(rng=draws)
    def populate(self, rng: random.Random) -> None:
        self.changes.rng = rng
        for _ in range(PERSONS):
            self.changes.add_person()

    # The world

    @rule(rng=draws, deeds=deeds)
    def change(self, rng: random.Random, deeds: Sequence[str]) -> None:
        """What PTS knows changes, and who stands on the roster."""
        self.changes.rng = rng
        for deed in deeds:
            if deed == "share":
                self._share(rng)
            else:
                getattr(self.changes, deed)()

    def _share(self, rng: random.Random) -> None:
        """PTS gives somebody's restrictions under another identifier as well."""
        truth = self.stage.upstream.truth
        one, other, area = rng.choice(list(truth)), rng.choice(list(truth)), rng.choice(AREAS)
        truth[other][area] |= truth[one][area]

    @rule(rng=draws, kind=st.none() | st.sampled_from(sorted(KINDS)), areas=scopes)
    def fail(self, rng: random.Random, kind: str | None, areas: Sequence[str]) -> None:
        """Some persons cannot be read any more; or everybody again."""
        listed = self._listed()
        persons = rng.sample(listed, rng.randint(1, len(listed)))
        fault = KINDS[kind] if kind else {}
        self.failing = [{**fault, "area": one, "persons": persons} for one in areas if kind]

    @rule(hours=st.sampled_from([0.001, 1, 7, 13, 24, 49, -1.5]))
    def wait(self, hours: float) -> None:
        """Time passes; or somebody sets the clock back."""
        if hours < 0:
            self.stage.clock.leap_s += 3600 * hours
        else:
            self.stage.clock.elapsed_s += 3600 * hours

    # Nights

    @rule(data=st.data(), rng=draws, deeds=deeds, areas=scopes)
    def night(
        self, data: st.DataObject, rng: random.Random, deeds: Sequence[str], areas: Sequence[str]
    ) -> None:
        """A sync that may be disturbed."""
        self.change(rng, deeds)
        trouble = data.draw(st.none() | type(self).troubles, "trouble")
        self._run(RunKind.SYNC, self.stage.roster, areas, PUBLISHES, trouble)

    @rule(rng=draws, deeds=deeds, areas=scopes, guard=guards)
    def guarded_night(
        self, rng: random.Random, deeds: Sequence[str], areas: Sequence[str], guard: Guard
    ) -> None:
        """Under the guard's eyes; what it withholds, a person may accept the next day."""
        self.change(rng, deeds)
        if self._run(RunKind.SYNC, self.stage.roster, areas, guard, None).code == 5:
            self._run(RunKind.SYNC, self.stage.roster, areas, PUBLISHES, None)

    @rule(data=st.data(), rng=draws, areas=scopes, guard=guards)
    def task(
        self, data: st.DataObject, rng: random.Random, areas: Sequence[str], guard: Guard
    ) -> None:
        """A backfill of some persons, maybe beside a sync that is to be continued."""
        good = [line for line in self.stage.roster if not line.bad]
        lines = rng.sample(good, rng.randint(1, len(good)))
        trouble = data.draw(st.none() | type(self).troubles, "trouble")
        self._run(RunKind.BACKFILL, lines, areas, guard, trouble)

    @rule()
    def peace(self) -> None:
        """Two undisturbed nights: the store is the world."""
        self.failing = []
        self.changes.clean_roster()
        # The first may carry on with what an earlier process had read; and it takes two rosters for
        # somebody to depart.
        for _ in range(3):
            outcome = self._run(RunKind.SYNC, self.stage.roster, AREAS, PUBLISHES, None)
            expect(outcome.code == 0, f"an undisturbed run ended with {outcome.code}")
        self.stage.observer.check_world(self.stage.upstream.truth, self._listed())

    def _listed(self) -> list[str]:
        return [*dict.fromkeys(line.off_id for line in self.stage.roster if not line.bad)]

    def _run(
        self,
        kind: RunKind,
        lines: list[Line],
        areas: Sequence[str],
        guard: Guard,
        trouble: Trouble | None,
    ) -> Outcome:
        stage = self.stage
        stage.upstream.arm(self.failing)
        stage.limit(
            areas=areas,
            max_removed_share=guard.max_removed_share,
            min_completeness=guard.min_completeness,
            first_min_completeness=guard.first_min_completeness,
        )
        accepted = self._accepted(kind)
        continued = self._is_continued(kind, areas)
        facts = self._expected_facts(kind, lines, areas)

        async def main() -> tuple[Outcome, Sequence[Mapping[str, Any]]]:
            with capture_logs() as logs:
                outcome = await apart(
                    stage, kind=kind, lines=lines, accepts=guard.accept_removals, trouble=trouble
                )
            await stage.judge()
            return outcome, logs

        outcome: Outcome
        outcome, logs = self.play(main)
        expect(outcome.code != 70, f"a bug: {outcome.fault!r}")
        for entry in logs:
            if entry["event"] == "run.judged":
                self.judged[entry["run"]] = _judged(entry)
        if trouble is None and not self.failing:
            assert outcome.report is not None
            expect(continued in {None, outcome.report.is_continued}, "another run was continued")
            if not outcome.report.is_continued:
                has_gaps = any(line.bad for line in lines)
                wanted = 5 if guard.withholds(facts, accepted) else 3 if has_gaps else 0
                expect(outcome.code == wanted, f"{outcome.code}, not {wanted}, with {facts}")
                self._check_judged(facts, logs)
        return outcome

    def _is_continued(self, kind: RunKind, areas: Sequence[str]) -> bool | None:
        """Whether the next run must be the open one (docs/architecture.md); None: it may be."""
        runs = self.stage.observer.ledger
        still = [one for one in runs if one["status"] in {"running", "interrupted"}]
        fitting = [
            one
            for one in still
            if one["kind"] == kind == RunKind.SYNC
            and tuple(area for area in AREAS if area in one["areas"]) == tuple(areas)
        ]
        hours = [
            (self.stage.clock.now() - one["started_at"]).total_seconds() / 3600 for one in fitting
        ]
        return False if not fitting else True if max(hours) < CONTINUE_WITHIN_H else None

    def _expected_facts(
        self, kind: RunKind, lines: Sequence[Line], areas: Sequence[str]
    ) -> Mapping[str, Any]:
        """What the guard judges if everything is read as it is in the world now."""
        observer, now = self.stage.observer, self.stage.clock.now()
        model = copy.deepcopy(observer.model)
        model.begin(-1, kind.value, tuple(areas))
        run = model.runs[-1]
        listed = {line.off_id for line in lines if not line.bad}
        for off_id in listed:
            for area in areas:
                rows = self.stage.upstream.truth[off_id][area]
                key = observer.person_key(off_id), area
                model.read_complete(run, key, rows, at=now, pages=1)
        bad = sum(bool(line.bad) for line in lines)
        ending = Ending(
            roster={observer.person_key(off_id) for off_id in listed},
            may_depart=kind == RunKind.SYNC and not bad,
            roster_errors=bad,
        )
        return model.outcome(run, ending).facts

    def _check_judged(self, facts: Mapping[str, Any], logs: Sequence[Mapping[str, Any]]) -> None:
        for entry in logs:
            if entry["event"] == "run.judged":
                same(facts, _judged(entry), "what the guard judged")

    def _accepted(self, kind: RunKind) -> Mapping[str, Any] | None:
        """What a person may accept: the facts of the run before, if it was withheld."""
        ended = [
            one
            for one in self.stage.observer.ledger
            if one["kind"] == kind and one["status"] in {"published", "withheld"}
        ]
        if not ended or ended[-1]["status"] != "withheld":
            return None
        return self.judged[ended[-1]["run_id"]]


def _judged(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The facts that the guard judged, as the model has them."""
    shown = {name: entry[name] for name in GuardFacts.__struct_fields__}
    shown["areas"] = {
        one["area"]: {name: count for name, count in one.items() if name != "area"}
        for one in entry["areas"]
    }
    return shown
