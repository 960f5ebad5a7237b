"""One simulated world: its database file, services, model, and the processes that run in it."""

import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.support.contracts import Document, as_toml
from tests.support.model.guard import Guard
from tests.support.model.values import expect
from tests.support.model.views import plain
from tests.support.published import Store
from tests.support.simulation.doors import outside
from tests.support.simulation.loop import PROCESS, Clock, SimLoop
from tests.support.simulation.materials import PSEUDONYM_KEY, materials
from tests.support.simulation.observer import Observer, WatchedAttempt
from tests.support.simulation.process import (
    FILE,
    Process,
    Trace,
    Trouble,
    entered,
)
from tests.support.simulation.upstream import Upstream
from worker.app import App
from worker.cli.run_command import observed_run
from worker.cli.run_sync import RunRequest
from worker.core.model import RunKind, RunStatus
from worker.core.run import RunReport
from worker.errors import ExitCode, WorkerError
from worker.roster.csv_file import CsvRoster
from worker.store.runs.run_store import BackfillSelection
from worker.sync import pipeline

LONGEST_RUN_S = 36 * 3600.0
"""A run of a handful of persons that is not over by then waits for something that never comes."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a roster: an identifier with its local reference, or something else."""

    off_id: str = ""
    ref: str = ""
    bad: str = ""

    def text(self) -> str:
        return self.bad or f"{self.off_id},{self.ref}"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a process ended.

    Attributes:
        code: its exit code; None if it crashed.
        report: if the run got so far.
        fault: what it raised, if it raised something.
    """

    process: Process
    code: int | None
    report: RunReport | None = None
    fault: BaseException | None = None

    @property
    def crashed(self) -> bool:
        return self.code is None


@dataclass(kw_only=True)
class Tally:
    """What was done to how many worlds."""

    faults: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    publications: int = 0

    def add(self, other: "Tally") -> None:
        """Add another tally to this one."""
        self.faults.update(other.faults)
        self.ends.update(other.ends)
        self.runs += other.runs
        self.publications += other.publications


def _ends_the_test(fault: BaseException) -> bool:
    """Whether pytest's time limit struck, or somebody at the keyboard: that is no end of a run."""
    from_outside = (pytest.fail.Exception, KeyboardInterrupt)
    if isinstance(fault, BaseExceptionGroup):
        return fault.subgroup(from_outside) is not None
    return isinstance(fault, from_outside)


class Stage:
    """A world in which processes run. Use it inside ``run_simulated``."""

    def __init__(
        self,
        folder: Path,
        clock: Clock,
        rng: random.Random,
        *,
        seed: int,
        contract: Document | None = None,
        postgres: str = "",
        **options: Any,
    ) -> None:
        if contract is not None:
            options["contract"] = contract
        self.folder = folder
        self.clock = clock
        self.rng = rng
        self.trace = Trace(clock)
        self.tally = Tally()
        self.upstream = Upstream(clock, rng, self.trace, seed=seed, jwk=materials().jwk, **options)
        self.database = folder / "pts.db"
        self.store = Store(postgres or f"sqlite:///{self.database}")
        if not self.database.exists():
            shutil.copy(materials().folder / "empty.db", self.database)
        self.place = postgres or self.database
        self.observer = Observer(self.place, PSEUDONYM_KEY, self.upstream.served)
        self.roster: list[Line] = []
        self.processes: list[Process] = []
        self.current: Process | None = None
        self.loop: SimLoop
        self.look_share = 0.05
        self.before_write: Callable[[int], None] = lambda _number: None
        self._sends_h_numbers = True
        self.batch_persons = pipeline.BATCH_PERSONS
        self.settings = materials().loaded.settings
        if contract is not None:
            self._declare(contract)

    def _declare(self, contract: Document) -> None:
        """The worker and PTS go by one contract."""
        path = self.folder / "contract.toml"
        path.write_text(as_toml(contract))
        self._change("api", contract_file=path)

    def doors(self) -> AbstractContextManager[None]:
        """While this lasts, what a process opens to the outside leads into this world."""

        def process() -> Process:
            return self.processes[PROCESS.get() - 1]

        return outside(process, self.place, self.upstream)

    def reading(self) -> None:
        """A process is about to read a piece of its roster's file."""
        number = PROCESS.get()
        if number and self.processes[number - 1].touch(FILE):
            self.processes[number - 1].injected["file"] += 1
            raise OSError(5, "Input/output error")

    def configure(self, environment: str | None, *, send_h_numbers: bool) -> None:
        """Set where PTS is said to be, and whether H-numbers are sent there all the same."""
        self._change("api", environment=environment)
        self._change("roster", send_h_numbers=send_h_numbers)
        self._sends_h_numbers = send_h_numbers or environment != "production"

    def not_sent(self, off_ids: Iterable[str]) -> list[str]:
        """Those of them that PTS must not be asked about: H-numbers, in production."""
        if self._sends_h_numbers:
            return []
        return [one for one in off_ids if 1 <= int(one[:2]) <= 31 and 41 <= int(one[2:4]) <= 52]

    def limit(self, *, batch_persons: int | None = None, **sync: Any) -> None:
        """Set limits of the ``sync`` section, and how many persons are written together."""
        self.batch_persons = batch_persons or self.batch_persons
        self._change("sync", **sync)

    def _change(self, section: str, **values: Any) -> None:
        changed = getattr(self.settings, section).model_copy(update=values)
        self.settings = self.settings.model_copy(update={section: changed})

    def process(self, trouble: Trouble | None = None) -> Process:
        number = len(self.processes) + 1
        process = Process(
            number=number,
            clock=self.clock,
            trace=self.trace,
            rng=random.Random(self.rng.getrandbits(64)),
            trouble=trouble or Trouble(),
        )
        process.after_commit = self._glance
        process.before_write = self.before_write
        self.processes.append(process)
        return process

    def _glance(self) -> None:
        """After a commit, now and then: readers must see what they saw."""
        if self.rng.random() < self.look_share or self.observer.is_behind():
            self.look()

    def look(self) -> None:
        """Let the model look at the database."""
        if self.observer.look():
            self.tally.publications += 1

    async def run_apart(self, process: Process, **options: Any) -> Outcome:
        """The same as ``run``, in a task of its own."""
        found: list[Outcome] = []

        async def task() -> None:
            found.append(await self.run(process, **options))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(task)
        return found[0]

    async def run(
        self,
        process: Process,
        *,
        kind: RunKind = RunKind.SYNC,
        lines: list[Line] | None = None,
        selection: BackfillSelection | None = None,
        accepts: bool = False,
        stop: anyio.Event | None = None,
    ) -> Outcome:
        """Let a process carry out one run, to whatever end."""
        lines = [*(self.roster if lines is None else lines)]
        path = self.folder / f"roster-{process.number}.csv"
        path.write_text("\n".join(["off_id,local_ref", *(one.text() for one in lines), ""]))
        app = App(
            loaded=replace(materials().loaded, settings=self.settings),
            runtime=process.runtime(),
        )
        request = RunRequest(
            kind=kind, roster=CsvRoster(path), selection=selection, accept_removals=accepts
        )
        pipeline.BATCH_PERSONS = self.batch_persons  # type: ignore[misc]
        self._watch(process, request, lines)
        self.tally.runs += 1
        entered(process)
        with anyio.move_on_after(LONGEST_RUN_S) as limit:
            outcome = await self._carry_out(process, app, request, stop or anyio.Event())
        expect(not limit.cancelled_caught and not limit.cancel_called, "a run that never ends")
        process.ended = True
        self.trace.add(f"{process.number} ends {outcome.code}")
        self._check_manners(process)
        self.tally.ends["crashed" if outcome.crashed else str(outcome.code)] += 1
        self.tally.faults.update(process.injected)
        if outcome.report is not None:
            self.tally.faults["reads contradict"] += outcome.report.failures.get("unstable", 0)
        self.look()
        self._check_report(outcome)
        return outcome

    def _check_manners(self, process: Process) -> None:
        """However a process ended: it waited no longer than it should."""
        longest_s = self.settings.sync.retry_after_max.total_seconds()
        slept_s = process.longest_sleep_s
        expect(slept_s <= longest_s, f"it slept {slept_s} s, longer than sync.retry_after_max")
        served = self.upstream.served[process.number]
        asked = self.not_sent(off_id for off_id, _ in served.searches)
        expect(not asked, "PTS was asked about an H-number")

    async def _carry_out(
        self, process: Process, app: App, request: RunRequest, stop: anyio.Event
    ) -> Outcome:
        try:
            report = await observed_run(app, request, stop=stop)
        except WorkerError as fault:
            if not process.dead:
                return Outcome(process=process, code=int(fault.exit_code), fault=fault)
        except anyio.get_cancelled_exc_class():
            if not process.dead:
                process.die()
                raise
        except BaseException as fault:
            if _ends_the_test(fault):
                raise
            if not process.dead:
                return Outcome(process=process, code=int(ExitCode.BUG), fault=fault)
        else:
            if not process.dead:
                return Outcome(process=process, code=int(report.exit_code), report=report)
        return Outcome(process=process, code=None)

    def _watch(self, process: Process, request: RunRequest, lines: list[Line]) -> None:
        good = [line for line in lines if not line.bad]
        refs: dict[str, set[str | None]] = {}
        for line in good:
            refs.setdefault(line.off_id, set()).add(line.ref or None)
        not_sent = self.not_sent(line.off_id for line in good)
        self.tally.faults["H-numbers not sent"] += bool(not_sent)
        sync = self.settings.sync

        def began(run_id: int) -> None:
            attempt = WatchedAttempt(
                number=process.number,
                run_id=run_id,
                kind=request.kind.value,
                areas=tuple(sync.areas),
                guard=Guard(
                    max_removed_share=sync.max_removed_share,
                    min_completeness=sync.min_completeness,
                    first_min_completeness=sync.first_min_completeness,
                    accept_removals=request.accept_removals,
                ),
                roster={off_id: frozenset(found) for off_id, found in refs.items()},
                roster_errors=len(lines) - len(good),
                not_sent=not_sent,
                picks=request.selection is not None,
                confirms_changes=sync.confirm == "changes",
            )
            self.observer.began(attempt)

        process.began = began

    def _check_report(self, outcome: Outcome) -> None:
        """What a process says of its run is what the ledger says."""
        report = outcome.report
        if report is None:
            return
        ((status, exit_code),) = self.store.rows(
            f"SELECT status, exit_code FROM run WHERE run_id = {report.run_id}"
        )
        # A commit that was done, then reported as failed for good, is unknown to the process.
        is_unknown = any(name.startswith("database done-") for name in outcome.process.injected)
        if status == RunStatus.PUBLISHED and not is_unknown:
            expect(
                report.status == RunStatus.PUBLISHED and report.exit_code == exit_code,
                f"published with {exit_code}, but the process says {report.status} and "
                f"{int(report.exit_code)}",
            )
        expect(
            report.status != RunStatus.PUBLISHED or status == RunStatus.PUBLISHED,
            "the process says that it published, and it did not",
        )

    def lease_ends_in_s(self) -> float:
        """How long the lease that someone holds runs on, by the worker's clock; 0 for none."""
        held = self.store.rows("SELECT expires_at FROM lease WHERE expires_at IS NOT NULL")
        now = self.clock.now()
        left_s: list[float] = [(plain("", at) - now).total_seconds() for (at,) in held]
        return max([0.0, *left_s])

    def close(self) -> None:
        """Settle the tally and close the observer's reader."""
        self.observer.close()
        self.tally.faults.update({f"http {name}": n for name, n in self.upstream.struck.items()})
