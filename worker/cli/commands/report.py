"""``report``: the published state as one HTML page."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.cli import options
from worker.cli.access import purpose_option
from worker.cli.output import NOTHING_YET
from worker.core.display import LEAST, LEAST_MIN, OFF

if TYPE_CHECKING:
    from worker.report.figures import ReportFacts


def _min_cell(_context: object, _parameter: object, number: int) -> int:
    """Refuse a limit that is too low to hide a number."""
    if number != OFF and number < LEAST_MIN:
        raise click.BadParameter(
            f"give {LEAST_MIN} or more (a lower limit leaves fewer than three possible values), "
            f"or {OFF} to show exact numbers"
        )
    return number


@click.command("report", cls=options.Command)
@click.option("--out", type=options.path, required=True, help="The HTML file to write.")
@click.option(
    "--language",
    type=click.Choice(["nb", "nn", "en"]),
    metavar="LANGUAGE",
    default="nb",
    show_default=True,
    help="nb (bokmål), nn (nynorsk) or en.",
)
@click.option("--cohort", metavar="NAME", help="Only this clinic or department (roster's cohort).")
@click.option(
    "--min-cell",
    type=int,
    callback=_min_cell,
    metavar="N",
    default=LEAST,
    show_default=True,
    help="Hide counts of fewer than N persons (4 or more); 0 shows all numbers exactly.",
)
@purpose_option
@click.pass_obj
def command(
    cli: options.Cli,
    *,
    out: Path,
    language: str,
    cohort: str | None,
    min_cell: int,
    purpose: str | None,
) -> None:
    """Write the published state as one self-contained HTML file.

    For a director: restrictions in effect and their patients, additions and removals, the trend,
    and the age of the figures. It contains no name, reference or pseudonym, and counts are rounded
    to five. Only its owner can read it (0600). An old report is replaced. The access is logged.

    Example: `pts-worker report --out rapport.html`
    """
    from worker.cli.access import log_access
    from worker.core.hosts import is_rehearsal
    from worker.report.page import Source, write_report
    from worker.store.identity import stored_identity

    app = cli.load("report")
    api, client = app.settings.api, app.settings.helseid
    organisation = client.organization_child or client.organization_parent
    is_synthetic = is_rehearsal(api.environment, api.base_url)

    async def write() -> "ReportFacts":
        async with app.database() as store:
            await log_access(store, "report", purpose, min_cell=min_cell, cohort=cohort)
            # The service that filled the store, which the configuration may no longer name.
            stored = await store.read(stored_identity)
            return await write_report(
                store.for_long_transactions().read,
                out,
                now=app.runtime.now(),
                timezone=str(app.settings.schedule.timezone),
                in_language=language,
                min_cell=min_cell,
                cohort=cohort,
                source=Source(stored.service or "", organisation or "", is_synthetic),
            )

    facts = cli.run(write)
    published_at = facts.published.published_at if facts.published else None
    document = {"file": out, "state": facts.state, "published_at": published_at}
    cli.emit(document | {"next": None if published_at else NOTHING_YET})
