"""A seed's life of a worker: nights in which the world, the roster and the luck change."""

import random
import shutil
import traceback
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import anyio

from tests.support.contracts import PAGED, contract
from tests.support.model.values import AREAS, BrokenPromiseError, expect
from tests.support.program import TimeLimitError
from tests.support.simulation.changes import Changes
from tests.support.simulation.foreseen import SCOPES, drawn, everything, run_as_foreseen
from tests.support.simulation.loop import Clock, SimLoop, inline_files, run_simulated
from tests.support.simulation.materials import fast_folder
from tests.support.simulation.process import Process, Trouble
from tests.support.simulation.stage import Outcome, Stage, Tally
from tests.support.simulation.weather import Weather
from worker.core.model import RunKind, RunStatus
from worker.store.runs.run_store import BackfillSelection

OSLO = ZoneInfo("Europe/Oslo")
STARTS = (
    datetime(2026, 3, 27, 1, 30, 0, 518_204, tzinfo=UTC),
    datetime(2026, 10, 23, 0, 30, 7, 1, tzinfo=UTC),
    datetime(2027, 12, 30, 22, 59, 59, 999_999, tzinfo=UTC),
)
"""Two nights before the clocks change either way, and before a year's end."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of one seed.

    Attributes:
        broken: the promise that was broken, with the way there; empty if all were kept.
    """

    seed: int
    tally: Tally
    digest: str
    broken: str = ""


def play(seed: int, postgres: str = "") -> Result:
    """Play one seed to its end. The same seed gives the same trace, to the last call.

    Args:
        postgres: the URL of an empty PostgreSQL, on which faults strike upstream alone.
    """
    rng = random.Random(f"pts-sync-worker {seed}")
    clock = Clock(rng.choice(STARTS))
    folder = fast_folder()
    stage: Stage | None = None
    broken = ""
    try:
        stage = _stage(folder, clock, rng, seed, postgres)
        life = Life(stage, rng)
        live = life.live_in_turn if postgres else life.live
        with stage.doors(), inline_files(stage.reading):
            run_simulated(live, clock, rng)
    except TimeLimitError as fault:
        fault.add_note(f"seed {seed}; no promise was broken, and none was shown to hold")
        raise
    except Exception as fault:  # noqa: BLE001 - whatever it is, the seed must be reported
        last = "\n".join(stage.trace.last[-30:]) if stage else ""
        broken = f"{''.join(traceback.format_exception(fault))}\nlast calls:\n{last}"
    finally:
        if stage is not None:
            stage.close()
        shutil.rmtree(folder, ignore_errors=True)
    assert stage is not None
    return Result(seed=seed, tally=stage.tally, digest=stage.trace.digest(), broken=broken)


def _stage(folder: Any, clock: Clock, rng: random.Random, seed: int, postgres: str) -> Stage:
    chosen = rng.choice((None, None, None, *PAGED))
    stage = Stage(
        folder,
        clock,
        rng,
        seed=seed,
        postgres=postgres,
        contract=PAGED[chosen] if chosen else contract(),
        page_size=rng.choice((1, 2, 3)),
        token_lifetime_s=rng.choice((5, 12, 60, 600)),
        rs_nonce=rng.random() < 0.3,
        challenge_style="dpop" if seed % 3 == 0 else "bearer",
    )
    stage.limit(
        concurrency=rng.choice((1, 2, 4, 8)),
        requests_per_second=rng.choice((2.0, 10.0, 50.0)),
        batch_persons=rng.choice((1, 2, 4, 200)),
        retry_attempts=rng.choice((2, 3, 5)),
        confirm=random.Random(f"confirm {seed}").choice(("removals", "removals", "changes")),
    )
    return stage


class Life:
    """The nights of one seed."""

    def __init__(self, stage: Stage, rng: random.Random) -> None:
        self.stage = stage
        self.rng = rng
        self.changes = Changes(stage, rng)
        self.weather = Weather(stage, rng)
        self._luck = random.Random(f"calm nights {stage.upstream.state.options.seed}")
        self._usual = stage.settings.sync
        self._withheld = False

    async def live(self, loop: SimLoop) -> None:
        """Some nights with faults, then peace."""
        self.stage.loop = loop
        self.changes.populate()
        for _ in range(self.rng.choice((1, 2, 2, 3))):
            await self._night()
            if self._luck.random() < 0.5:
                await self._calm_night()
            await self._till_next()
        await self._peace()

    async def live_in_turn(self, loop: SimLoop) -> None:
        """The same with faults of PTS and HelseID alone, and one process after the other."""
        self.stage.loop = loop
        self.changes.populate()
        for _ in range(4):
            self.changes.change_world()
            self.changes.edit_roster()
            self.weather.arm()
            outcome = await self.stage.run_apart(self.stage.process(), **self._request())
            self._check_end(outcome)
            await self._calm_night()
            await self._till_next()
        await self._peace()

    # Nights

    async def _calm_night(self) -> None:
        """Nothing goes wrong, whatever has changed: how it ends is known before it begins."""
        self.weather.disarm()
        self.stage.clock.skew_s = 0.0
        for _ in range(self._luck.choice((0, 1, 2, 3))):
            deeds = self.changes
            self._luck.choice((deeds.change_world, deeds.edit_roster, deeds.lose_much))()
        await self._wait_for_lease()
        meanwhile = self._luck.choice((lambda: None, self.changes.lose_much))
        outcome = await run_as_foreseen(self.stage, drawn(self.stage, self._luck), meanwhile)
        self._withheld = outcome.code == 5
        names = ("max_removed_share", "min_completeness", "first_min_completeness")
        self.stage.limit(**{name: getattr(self._usual, name) for name in names})

    async def _night(self) -> None:
        self.stage.limit(areas=self._luck.choice(SCOPES))
        for _ in range(self.rng.choice((0, 1, 1, 2, 3))):
            self.changes.change_world()
        if self._withheld and self.rng.random() < 0.6:
            self.changes.find_again()
        elif self.rng.random() < 0.15:
            self.stage.tally.faults["most restrictions gone at once"] += 1
            self.changes.lose_much()
        for _ in range(self.rng.choice((0, 0, 0, 1, 1, 2))):
            self.stage.tally.faults["roster edited"] += 1
            self.changes.edit_roster()
        self.changes.configure()
        if self.rng.random() < 0.75:
            self.weather.arm()
            trouble = self.weather.trouble()
        else:
            self.weather.disarm()
            trouble = Trouble()
        outcome = await self._attempt(trouble)
        for _ in range(self.rng.choice((0, 0, 1, 2))):
            if outcome.code in {0, 3, 5}:
                break
            await anyio.sleep(self.rng.choice((5.0, 60.0, 600.0)))
            if self.rng.random() < 0.5:
                self.weather.disarm()
            outcome = await self._attempt(self.weather.trouble())
        self._withheld = outcome.code == 5

    async def _attempt(self, trouble: Trouble) -> Outcome:
        """One process, and whatever happens beside it."""
        process = self.stage.process(trouble)
        options = self._request()
        stop = anyio.Event()
        async with anyio.create_task_group() as beside:
            beside.start_soon(self._happenings, process, stop)
            outcome = await self.stage.run_apart(process, stop=stop, **options)
            beside.cancel_scope.cancel()
        self._check_end(outcome)
        return outcome

    def _request(self) -> dict[str, Any]:
        accepts = self.rng.random() < (0.5 if self._withheld else 0.1)
        if self.rng.random() < 0.8:
            return {"accepts": accepts}
        good = [line for line in self.stage.roster if not line.bad]
        lines = self.rng.sample(good, self.rng.randint(1, len(good)))
        selection = None
        match self.rng.choice(("all", "failed", "stale")):
            case "failed":
                selection = BackfillSelection(failed=True)
            case "stale":
                age = timedelta(hours=self.rng.choice((1, 30)))
                selection = BackfillSelection(stale_before=self.stage.clock.now() - age)
            case _:
                """All of them."""
        return {
            "kind": RunKind.BACKFILL,
            "lines": lines,
            "selection": selection,
            "accepts": accepts,
        }

    async def _happenings(self, process: Process, stop: anyio.Event) -> None:
        """Things that happen while a process runs; most nights none do."""
        faults = self.stage.tally.faults
        while True:
            await anyio.sleep(self.rng.expovariate(1 / 4.0))
            match self.rng.choice((*("nothing",) * 6, *_HAPPENINGS)):
                case "look":
                    self.stage.look()
                case "world":
                    if not self.stage.upstream.is_in_pages:
                        faults["world changed in a run"] += 1
                        self.change_world_quietly()
                case "stop":
                    faults["asked to stop"] += 1
                    stop.set()
                case "overlap":
                    faults["overlapping run"] += 1
                    await self._other()
                case "pause":
                    faults["paused past the lease"] += 1
                    await self._pause(process)
                case "leap":
                    self._jump()
                case _:
                    """Nothing happens."""

    def change_world_quietly(self) -> None:
        """A change of the world that leaves the roster alone."""
        roster = list(self.stage.roster)
        self.changes.change_world()
        self.stage.roster = roster

    def _jump(self) -> None:
        clock = self.stage.clock
        seconds = self.rng.choice((-7200.0, -90.0, -4.0, 4.0, 90.0, 7200.0))
        self.stage.tally.faults[f"clock jump {'ahead' if seconds > 0 else 'back'}"] += 1
        if self.rng.random() < 0.6:
            clock.leap_s += seconds
        else:
            clock.skew_s += seconds

    async def _other(self) -> Outcome:
        """Another process starts while one is at work."""
        other = self.stage.process(self.weather.trouble() if self.rng.random() < 0.3 else None)
        outcome = await self.stage.run_apart(other)
        self._check_end(outcome)
        return outcome

    async def _pause(self, process: Process) -> None:
        """SIGSTOP for longer than the lease; somebody else takes over; SIGCONT."""
        loop = self.stage.loop
        loop.paused.add(process.number)
        try:
            await anyio.sleep(self.rng.choice((20.0, 61.0, 200.0)))
            if self.rng.random() < 0.8:
                await self._other()
            await anyio.sleep(self.rng.choice((0.0, 30.0)))
        finally:
            loop.resume(process.number)

    def _check_end(self, outcome: Outcome) -> None:
        """No end but those of docs/reference/exit-codes.md, and none of them a bug."""
        if outcome.code == 70:
            fault = outcome.fault
            text = "".join(traceback.format_exception(fault)) if fault else ""
            raise BrokenPromiseError(f"a bug: {fault!r}\n{text}")
        report = outcome.report
        if outcome.code == 2 and report is not None and report.status == RunStatus.ABANDONED:
            return  # a backfill of failures of persons that were never published
        expect(outcome.code in {None, 0, 3, 4, 5, 65, 69, 75, 77, 78}, f"exit {outcome.code}")

    async def _till_next(self) -> None:
        """To the next night, at half past two in Oslo, whether that hour is twice or missing."""
        now = self.stage.clock.true_now().astimezone(OSLO)
        if self.rng.random() < 0.2:
            await anyio.sleep(self.rng.uniform(60, 3 * 3600))
            return
        day = now + timedelta(days=1 if now.hour >= 2 else 0)
        wanted = day.replace(hour=2, minute=30, second=0, fold=self.rng.randint(0, 1))
        hours = _hours_of(day)
        if hours != 24:
            self.stage.tally.faults[f"night of {hours} hours"] += 1
        wait_s = (wanted.astimezone(UTC) - now.astimezone(UTC)).total_seconds()
        await anyio.sleep(max(60.0, wait_s))

    # The end

    async def _peace(self) -> None:
        """The faults stop: one undisturbed run, and the store is the world."""
        self.weather.disarm()
        self.stage.clock.skew_s = 0.0
        self.changes.clean_roster()
        self.stage.limit(areas=AREAS)
        if self.rng.random() < 0.5:
            await anyio.sleep(13 * 3600)
        await self._wait_for_lease()
        # The first may carry on with what an earlier attempt had read, the world of that day; and
        # it takes two rosters for somebody to depart.
        for _ in range(1 + self._open_runs() + 1):
            await anyio.sleep(60.0)
            self._as_it_must(await run_as_foreseen(self.stage, everything(self.stage)))
        roster = {line.off_id for line in self.stage.roster}
        self.stage.observer.check_world(
            self.stage.upstream.truth, roster, not_sent=self.stage.not_sent(roster)
        )
        if self.rng.random() < 0.5:
            await self._with_tokens_revoked()

    async def _with_tokens_revoked(self) -> None:
        """A run whose token is taken from it on the way: that must not cost a single person."""

        async def revoke() -> None:
            await anyio.sleep(self.rng.uniform(0.0, 2.0))
            self.stage.upstream.state.apply({"revoke_tokens": True})
            self.stage.tally.faults["tokens revoked"] += 1

        await anyio.sleep(60.0)
        async with anyio.create_task_group() as beside:
            beside.start_soon(revoke)
            self._as_it_must(await self.stage.run_apart(self.stage.process()))
            beside.cancel_scope.cancel()

    def _as_it_must(self, outcome: Outcome) -> None:
        # A run that goes on may have read somebody once of whom PTS is not asked any more.
        reasons = outcome.report.reasons if outcome.report and outcome.report.is_continued else ()
        is_cut = any(reason.startswith("not read a second time") for reason in reasons)
        wanted = 3 if is_cut else 0
        expect(
            outcome.code == wanted, f"undisturbed, it ended with {outcome.code}: {outcome.fault}"
        )

    async def _wait_for_lease(self) -> None:
        wait_s = self.stage.lease_ends_in_s()
        if wait_s:
            await anyio.sleep(wait_s + 1.0)

    def _open_runs(self) -> bool:
        open_runs = "SELECT count(*) FROM run WHERE status IN ('running', 'interrupted')"
        return bool(self.stage.store.one(open_runs))


def _hours_of(day: datetime) -> int:
    """How many hours a day of Oslo has."""
    begin = day.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    end = begin + timedelta(days=1)
    return round((end.astimezone(UTC) - begin.astimezone(UTC)).total_seconds() / 3600)


_HAPPENINGS = ("look", "look", "world", "stop", "overlap", "pause", "leap")
