"""``verify``: re-read a sample from PTS and compare it with what was published."""

import anyio

from worker.cli.base import Cli
from worker.cli.progress import progress_bar, stoppable
from worker.cli.showing import columns, instant, roster_of, span
from worker.core.plurals import counted
from worker.errors import ExitCode, StoppedError
from worker.use_cases.verify import AreaAgreement, Verification, verify

_WORDS = {
    "missing_here": "restrictions that PTS has and that are not shown here",
    "gone_there": "restrictions shown here that PTS no longer has",
    "changed": "restrictions with another content",
    "unread": "could not be read from PTS",
    "not_in_store": "of persons on the roster of whom nothing is published here",
}


def run(cli: Cli, *, sample: int) -> int:
    """Run ``pts-worker verify``."""
    app = cli.load("sync")
    roster = roster_of(app)

    async def work(stop: anyio.Event) -> Verification:
        with progress_bar(cli, app, unit="area") as show:
            return await verify(app, sample, roster, stop=stop, on_progress=show)

    found: Verification | None = cli.run(lambda: stoppable(work, app.runtime))
    if found is None:
        raise StoppedError("stopped at once; nothing was written")
    cli.emit(found, lambda: _print(found))
    return ExitCode.OK if found.agree == found.sampled else ExitCode.GAPS


def _print(found: Verification) -> None:
    roster, published, agreement = found.roster, found.published, found.agreement
    faults = f", {counted(roster.faults, 'unreadable line')}" if roster.faults else ""
    print(f"sampled     {counted(found.sampled, 'area')} of persons")
    not_sent = f", {roster.not_sent:,} H-numbers are not sent" if roster.not_sent else ""
    print(f"roster      {counted(roster.entries, 'line')}{faults}{not_sent}")
    if published.age_s is None:
        print("published   no full run yet")
    else:
        age = span(published.age_s)
        print(f"published   {instant(published.published_at)}, {age} ago (run {published.run_id})")
    if agreement is None:
        print("agreement   unknown: nothing could be read")
    else:
        print(
            f"agreement   {agreement.share:.2%} ({found.agree:,} of {found.read:,} read; "
            f"95 % confidence {agreement.low:.2%} to {agreement.high:.2%})"
        )
    if found.is_run_on:
        print("a run is on: each of the two keeps to sync.requests_per_second by itself")
    for area in found.areas:
        _print_area(area)
    if found.agree < found.read:
        print("\nwhat has changed at PTS since the last publication differs too, and is no fault")


def _print_area(area: AreaAgreement) -> None:
    print(f"\n{area.area}: {area.agree:,} of {area.sampled:,} agree")
    columns(
        (),
        [
            (
                difference.count,
                _WORDS[difference.kind],
                f"({stale:,} known to be stale)" if (stale := difference.of_incomplete) else "",
                ", ".join(difference.persons),
            )
            for difference in area.differences
        ],
        indent="  ",
    )
