"""``report``: the published state as one HTML page."""

from pathlib import Path

import click

from worker.cli import options
from worker.cli.access import purpose_option
from worker.cli.base import Cli, subcommand
from worker.cli.showing import instant
from worker.errors import ExitCode
from worker.report.figures import ReportFacts
from worker.report.html import write_report
from worker.report.language import LANGUAGES
from worker.use_cases.access import log_access
from worker.use_cases.reading_store import store_to_read

HELP = """Write the published state as one HTML file that needs nothing else.

For a director: what is in effect and for how many patients, the trend, codes with their meaning,
when delays end, how fresh the figures are; runs in an annex. It names no person, and numbers of
fewer persons than `--min-cell` are hidden, with those from which they could be computed. Only the
file's owner can read it (0600). An old one is replaced.

The access is logged, with the purpose that `--purpose` gives: see the view `report_access`.

`--json`: file, state, published_at.

Example: `pts-worker report --out rapport.html`
"""


@subcommand("report", HELP)
@click.option("--out", type=options.FilePath(), required=True, help="The file.")
@click.option(
    "--language",
    type=click.Choice(LANGUAGES),
    metavar="LANGUAGE",
    default=LANGUAGES[0],
    help="nb (bokmål), nn (nynorsk) or en.",
)
@options.min_cell
@purpose_option
@options.database
def command(cli: Cli, *, out: Path, language: str, min_cell: int, purpose: str | None) -> int:
    """See ``HELP``."""
    app = cli.load("report")

    async def work() -> ReportFacts:
        async with store_to_read(app) as store:
            await log_access(app, store, "report", purpose)
            return await write_report(
                store.read,
                out,
                now=app.runtime.now(),
                timezone=str(app.settings.schedule.timezone),
                in_language=language,
                min_cell=min_cell,
            )

    facts = cli.run(work)
    published_at = facts.published.published_at if facts.published else None
    cli.emit(
        {"file": str(out), "state": facts.state.value, "published_at": published_at},
        lambda: print(f"{out}: the state published {instant(published_at)}"),
    )
    return ExitCode.OK
