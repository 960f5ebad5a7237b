"""``verify``: re-read a sample from PTS and compare it with what was published."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import anyio
import click
import structlog

from worker.app import App
from worker.cli import options
from worker.cli.base import Cli, subcommand
from worker.cli.comparing import Draw, Tally, draw, reread, tallies
from worker.cli.progress import Shown, progress_bar, stoppable
from worker.cli.showing import columns, instant, span
from worker.core.agreement import wilson
from worker.core.identity import short_key
from worker.errors import ExitCode, StoppedError
from worker.store.database import Database
from worker.store.identity import see_identity
from worker.store.queries.sample import forbid_writes, published_areas
from worker.store.queries.status import last_publication, lease_state
from worker.store.runs.ledger import DEFAULT_TENANT, key_paths
from worker.sync.record_keys import KeyBook
from worker.use_cases.reading_store import store_to_read

HELP = """Read a random sample of persons' areas from PTS and compare it with what was published.

Writes nothing: the database is opened for reading only. Tells the share that agrees with a 95 %
confidence interval (Wilson), and the differences by kind, with the first digits of the persons'
keys. What has changed at PTS since the last publication differs too, and is no fault: the next sync
brings it. May run beside a sync, but each of the two keeps to `sync.requests_per_second` by itself.

Exit code: 0 if all agree, 3 if some differ or could not be read; 65, 69 or 77 if nothing could be.

`--json`: roster (entries, faults, not_sent), published (run_id, published_at, age_s), is_run_on,
sampled, read, unread, agree, agreement (share, low, high) or null, areas (area, sampled, agree,
differences: kind, count, person_areas, of_incomplete, persons).

Example: `pts-worker verify --sample 1000 --requests-per-second 5`
"""

_WORDS = {
    "missing_here": "restrictions that PTS has and that are not shown here",
    "gone_there": "restrictions shown here that PTS no longer has",
    "changed": "restrictions with another content",
    "unread": "could not be read from PTS",
    "not_in_store": "of persons on the roster of whom nothing is published here",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """The whole comparison."""

    draw: Draw
    tallies: dict[str, Tally]
    is_run_on: bool
    is_plain: bool
    now: datetime
    run_id: int | None
    published_at: datetime | None

    def total(self, name: str) -> int:
        """A counter over all areas."""
        return sum(getattr(one, name) for one in self.tallies.values())


@subcommand("verify", HELP)
@click.option(
    "--sample",
    type=click.IntRange(min=1),
    default=200,
    help="How many areas of persons to read, at most.",
)
@options.area
@options.roster
@options.database
@options.rate
def command(cli: Cli, *, sample: int) -> int:
    """See ``HELP``."""
    app = cli.load("sync")

    async def work(stop: anyio.Event) -> _Found:
        with progress_bar(cli, unit="areas") as show:
            return await _verify(app, sample, stop, show)

    found: _Found | None = cli.run(lambda: stoppable(work, app.runtime))
    if found is None:
        raise StoppedError("stopped at once; nothing was written")
    document = _document(found)
    cli.emit(document, lambda: _print(found, document))
    is_whole = found.total("agree") == found.total("sampled")
    return ExitCode.OK if is_whole else ExitCode.GAPS


async def _verify(app: App, size: int, stop: anyio.Event, show: Shown | None) -> _Found:
    identity = app.identity()
    async with store_to_read(app) as store:
        forbid_writes(store)
        identity = await see_identity(store, DEFAULT_TENANT, identity)
        is_run_on = await _is_run_on(store)
        if is_run_on:
            structlog.get_logger(__name__).warning(
                "verify.beside_a_run",
                hint="both keep to sync.requests_per_second, each by itself; lower it here with "
                "--requests-per-second",
            )
        keys = KeyBook(dict(await key_paths(store, DEFAULT_TENANT)))
        drawn = await draw(app, size)
        reads = await reread(app, identity, drawn.picks, keys, stop, show=show)
        # Only now: what a run published meanwhile is no difference.
        persons = sorted({read.person.person_key for read in reads})
        published = await published_areas(store, DEFAULT_TENANT, persons)
        last = await last_publication(store, DEFAULT_TENANT)
    return _Found(
        draw=drawn,
        tallies=tallies(reads, published),
        is_run_on=is_run_on,
        is_plain=identity.mode == "plain",
        now=app.runtime.now(),
        run_id=last.run_id if last else None,
        published_at=last.published_at if last else None,
    )


async def _is_run_on(store: Database) -> bool:
    lease = await lease_state(store, DEFAULT_TENANT)
    return lease is not None and not lease.is_dead


def _document(found: _Found) -> dict[str, Any]:
    sampled, agree, unread = map(found.total, ("sampled", "agree", "unread"))
    share = wilson(agree, sampled - unread)
    age_s = (found.now - found.published_at).total_seconds() if found.published_at else None
    return {
        "roster": {
            "entries": found.draw.entries,
            "faults": found.draw.faults,
            "not_sent": found.draw.not_sent,
        },
        "published": {
            "run_id": found.run_id,
            "published_at": found.published_at,
            "age_s": age_s,
        },
        "is_run_on": found.is_run_on,
        "sampled": sampled,
        "read": sampled - unread,
        "unread": unread,
        "agree": agree,
        "agreement": share and {"share": share.share, "low": share.low, "high": share.high},
        "areas": [
            _area(name, tally, is_plain=found.is_plain)
            for name, tally in sorted(found.tallies.items())
        ],
    }


def _area(name: str, tally: Tally, *, is_plain: bool) -> dict[str, Any]:
    return {
        "area": name,
        "sampled": tally.sampled,
        "agree": tally.agree,
        "differences": [
            {
                "kind": kind.value,
                "count": one.count,
                "person_areas": one.person_areas,
                "of_incomplete": one.of_incomplete,
                "persons": [] if is_plain else [short_key(key) for key in one.persons],
            }
            for kind, one in sorted(tally.kinds.items())
        ],
    }


def _print(found: _Found, document: dict[str, Any]) -> None:
    roster = document["roster"]
    faults = f", {roster['faults']:,} unreadable lines" if roster["faults"] else ""
    print(f"sampled     {document['sampled']:,} areas of persons")
    not_sent = f", {roster['not_sent']:,} H-numbers are not sent" if roster["not_sent"] else ""
    print(f"roster      {roster['entries']:,} lines{faults}{not_sent}")
    if found.published_at is None:
        print("published   no full run yet")
    else:
        age = span(document["published"]["age_s"])
        print(f"published   {instant(found.published_at)}, {age} ago (run {found.run_id})")
    agreement = document["agreement"]
    if agreement is None:
        print("agreement   unknown: nothing could be read")
    else:
        print(
            f"agreement   {agreement['share']:.2%} ({document['agree']:,} of "
            f"{document['read']:,} read; 95 % confidence {agreement['low']:.2%} to "
            f"{agreement['high']:.2%})"
        )
    if found.is_run_on:
        print("a run is on: each of the two keeps to sync.requests_per_second by itself")
    for area in document["areas"]:
        _print_area(area)
    if document["agree"] < document["read"]:
        print("\nwhat has changed at PTS since the last publication differs too, and is no fault")


def _print_area(area: dict[str, Any]) -> None:
    print(f"\n{area['area']}: {area['agree']:,} of {area['sampled']:,} agree")
    columns(
        (),
        [
            (one["count"], _WORDS[one["kind"]], _stale(one), ", ".join(one["persons"]))
            for one in area["differences"]
        ],
        indent="  ",
    )


def _stale(one: dict[str, Any]) -> str:
    number = one["of_incomplete"]
    return f"({number:,} known to be stale)" if number else ""
