"""``status``: the last runs, how fresh the published snapshot is, and what is missing from it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import click

from worker.app import App
from worker.cli import options
from worker.cli.base import Cli, subcommand
from worker.cli.showing import columns, instant, span, store_to_read
from worker.errors import ExitCode
from worker.store.queries.status import (
    AreaStaleness,
    FailureCount,
    LeaseState,
    RunFacts,
    Settled,
    continued_by_next_sync,
    failure_counts,
    gaps,
    last_publication,
    last_runs,
    lease_state,
    settled_in,
)
from worker.store.runs.ledger import DEFAULT_TENANT, open_runs
from worker.store.shards.assignments import ShardState, shard_states

HELP = """Tell the last runs, the age of the published snapshot, gaps, and who holds the lease.

With `--max-age` the exit code is 3 if the last full run was published longer ago, or never.

`--json`: now, freshness (published_at, run_id, age_s, max_age_s, is_fresh), gaps (area, persons,
stale), failures (area, kind, count), lease (holder, since, expires_at, is_dead), open_run (run_id,
status, started_at, persons_read, continued_by_next_sync, run_key, shards), runs (latest first).
Of a run in shards, `shards` tells each shard's last turn: index (from 0), of, host, started_at,
ended_at, exit_code, is_live, is_done.

Example: `pts-worker status --max-age 36h`
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Open:
    """A run that is neither published nor given up."""

    run_id: int
    status: str
    started_at: datetime
    read: Settled
    is_continued_next: bool
    run_key: str | None
    count: int
    shards: Sequence[ShardState]


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    """What the store says."""

    now: datetime
    last: RunFacts | None
    max_age: timedelta | None
    gaps: Sequence[AreaStaleness]
    failures: Sequence[FailureCount]
    lease: LeaseState | None
    open_run: _Open | None
    runs: Sequence[RunFacts]

    @property
    def age_s(self) -> float | None:
        """Seconds since the last full run was published."""
        if self.last is None or self.last.published_at is None:
            return None
        return (self.now - self.last.published_at).total_seconds()

    @property
    def is_fresh(self) -> bool | None:
        """Whether the snapshot is young enough; None if nobody asked."""
        if self.max_age is None:
            return None
        return self.age_s is not None and self.age_s <= self.max_age.total_seconds()


@subcommand("status", HELP)
@click.option("--max-age", type=options.DURATION, help="Exit 3 if the snapshot is older, e.g. 36h.")
@click.option("--runs", type=click.IntRange(min=0), default=5, help="How many runs to tell.")
@options.database
def command(cli: Cli, *, max_age: timedelta | None, runs: int) -> int:
    """See ``HELP``."""
    app = cli.load("report")
    state = cli.run(lambda: _look(app, max_age=max_age, runs=runs))
    cli.emit(_document(state), lambda: _print(state))
    return ExitCode.GAPS if state.is_fresh is False else ExitCode.OK


async def _look(app: App, *, max_age: timedelta | None, runs: int) -> _State:
    async with store_to_read(app) as store:
        return _State(
            now=await store.read(store.now),
            last=await last_publication(store, DEFAULT_TENANT),
            max_age=max_age,
            gaps=await gaps(store, DEFAULT_TENANT),
            failures=await failure_counts(store, DEFAULT_TENANT),
            lease=await lease_state(store, DEFAULT_TENANT),
            open_run=await _open_run(app, store),
            runs=await last_runs(store, DEFAULT_TENANT, runs),
        )


async def _open_run(app: App, store: Any) -> _Open | None:
    rows = await open_runs(store, DEFAULT_TENANT)
    sync = app.settings.sync
    chosen = continued_by_next_sync(
        rows, areas=sync.areas, within=sync.continue_within, now=app.runtime.now()
    )
    row = chosen if chosen is not None else next(iter(rows), None)
    if row is None:
        return None
    return _Open(
        run_id=row.run_id,
        status=row.status,
        started_at=row.started_at,
        read=await settled_in(store, row.run_id, len(sync.areas)),
        is_continued_next=chosen is not None,
        run_key=row.run_key,
        count=row.shards,
        shards=await shard_states(store, DEFAULT_TENANT, row.run_id) if row.shards else (),
    )


def run_document(run: RunFacts) -> dict[str, Any]:
    """A line of the ledger as JSON."""
    return {
        "run_id": run.run_id,
        "kind": run.kind,
        "status": run.status,
        "exit_code": run.exit_code,
        "reason": run.reason,
        "areas": list(run.areas),
        "turns": run.turns,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "published_at": run.published_at,
        "totals": dict(run.totals),
    }


def _document(state: _State) -> dict[str, Any]:
    lease, begun = state.lease, state.open_run
    return {
        "now": state.now,
        "freshness": {
            "published_at": state.last.published_at if state.last else None,
            "run_id": state.last.run_id if state.last else None,
            "age_s": state.age_s,
            "max_age_s": state.max_age.total_seconds() if state.max_age is not None else None,
            "is_fresh": state.is_fresh,
        },
        "gaps": [
            {"area": one.area, "persons": one.persons, "stale": one.stale} for one in state.gaps
        ],
        "failures": [
            {"area": one.area, "kind": one.kind, "count": one.count} for one in state.failures
        ],
        "lease": lease
        and {
            "holder": lease.holder,
            "since": lease.since,
            "expires_at": lease.expires_at,
            "is_dead": lease.is_dead,
        },
        "open_run": begun
        and {
            "run_id": begun.run_id,
            "status": begun.status,
            "started_at": begun.started_at,
            "persons_read": begun.read.persons,
            "continued_by_next_sync": begun.is_continued_next,
            "run_key": begun.run_key,
            "shards": [{"of": begun.count, **asdict(one)} for one in begun.shards],
        },
        "runs": [run_document(run) for run in state.runs],
    }


def _print(state: _State) -> None:
    print(f"published  {_freshness(state)}")
    print(f"lease      {_lease(state.lease)}")
    if state.open_run:
        print(f"open run   {_open(state.open_run)}")
        for shard in state.open_run.shards:
            print(f"shard {shard.index}/{state.open_run.count:<3}  {_shard(shard)}")
    for one in state.gaps:
        failures = ", ".join(f"{f.kind} {f.count:,}" for f in state.failures if f.area == one.area)
        described = f" (failures: {failures})" if failures else ""
        print(f"{one.area}: {one.stale:,} of {one.persons:,} persons stale{described}")
    if not state.runs:
        return
    print()
    columns(
        (
            "run",
            "kind",
            "status",
            "exit",
            "began UTC",
            "persons",
            "stale",
            "new",
            "changed",
            "closed",
        ),
        [
            (
                run.run_id,
                run.kind,
                run.status,
                "-" if run.exit_code is None else str(run.exit_code),
                f"{run.started_at:%m-%d %H:%M}",
                run.totals["persons_total"],
                run.totals["persons_stale"],
                run.totals["rows_opened"],
                run.totals["rows_changed"],
                run.totals["rows_closed"],
            )
            for run in state.runs
        ],
    )
    for run in state.runs:
        if not_sent := run.totals["persons_not_sent"]:
            print(f"run {run.run_id}: {not_sent:,} persons with H-numbers were not sent to PTS")
        if run.reason:
            print(f"run {run.run_id}: {run.reason}")


def _freshness(state: _State) -> str:
    if state.last is None or state.age_s is None:
        described = "never: no full run has been published yet"
    else:
        described = (
            f"{instant(state.last.published_at)}, {span(state.age_s)} ago (run {state.last.run_id})"
        )
    if state.max_age is None:
        return described
    verdict = "fresh" if state.is_fresh else "TOO OLD"
    return f"{described}: {verdict} (--max-age {span(state.max_age.total_seconds())})"


def _lease(lease: LeaseState | None) -> str:
    if lease is None:
        return "free"
    if lease.is_dead:
        return f"left behind by {lease.holder}; the next run takes it over"
    return f"held by {lease.holder} since {instant(lease.since)}"


def _open(begun: _Open) -> str:
    shards = f" in {begun.count} shards, key {begun.run_key}" if begun.count else ""
    what_next = (
        "the next sync continues it" if begun.is_continued_next else "no sync will continue it"
    )
    return (
        f"run {begun.run_id}{shards}, {begun.status}, began {instant(begun.started_at)}, "
        f"{begun.read.persons:,} persons read: {what_next}"
    )


def _shard(one: ShardState) -> str:
    """How far a shard has come."""
    if one.is_done:
        described = "has done its part"
    elif one.is_live:
        described = "is on"
    elif one.exit_code is None:
        described = "died; start it again"
    else:
        described = f"ended with {one.exit_code}; start it again"
    return f"{described} ({one.host}, since {instant(one.started_at)})"
