"""``report``: the published state as one HTML page."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.access import PurposeOption, checked_purpose, log_access
from worker.cli.base import Cli, add_command
from worker.cli.showing import instant, store_to_read
from worker.cli.sync import DatabaseOption

if TYPE_CHECKING:
    from worker.report.figures import ReportFacts

HELP = """Write the published state as one HTML file that needs nothing else.

State and age of the snapshot, restrictions by area and code, changes over time, stale persons,
runs. The file holds health data; only its owner can read it (0600). An old one is replaced.

The access is logged, with the purpose that `--purpose` gives: see the view `report_access`.

`--json`: file, state, published_at.

Example: `pts-worker report --out report.html`
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "report", report, HELP)


def report(
    cli: Cli,
    *,
    out: Annotated[Path, typer.Option("--out", help="The file.")],
    include_local_ref: Annotated[
        bool,
        typer.Option("--include-local-ref", help="Name stale persons by your own reference, too."),
    ] = False,
    purpose: PurposeOption = None,
    database: DatabaseOption = None,
) -> int:
    """See ``HELP``."""
    why = checked_purpose(purpose)
    app = cli.load("report", {"database.url": database}, {"database.url": "--database"})
    from worker.errors import ExitCode
    from worker.report.html import write_report

    async def work() -> "ReportFacts":
        async with store_to_read(app) as store:
            await log_access(app, store, "report", why)
            return await write_report(
                store.read,
                out,
                now=app.runtime.now(),
                timezone=str(app.settings.schedule.timezone),
                include_local_ref=include_local_ref,
            )

    facts = cli.run(work)
    published_at = facts.published.published_at if facts.published else None
    cli.emit(
        {"file": str(out), "state": facts.state.value, "published_at": published_at},
        lambda: print(f"{out}: the state published {instant(published_at)}"),
    )
    return ExitCode.OK
