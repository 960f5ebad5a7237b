"""``report``: the published state as one HTML page."""

from pathlib import Path

from worker.cli.base import Cli
from worker.cli.showing import instant
from worker.report.figures import ReportFacts
from worker.report.html import write_report
from worker.use_cases.access import log_access


def run(
    cli: Cli, *, out: Path, language: str, cohort: str | None, min_cell: int, purpose: str | None
) -> None:
    """Run ``pts-worker report``."""
    app = cli.load("report")

    async def work() -> ReportFacts:
        async with app.database() as store:
            await log_access(app, store, "report", purpose)
            return await write_report(
                store.lasting().read,
                out,
                now=app.runtime.now(),
                timezone=str(app.settings.schedule.timezone),
                in_language=language,
                min_cell=min_cell,
                cohort=cohort,
            )

    facts = cli.run(work)
    published_at = facts.published.published_at if facts.published else None
    cli.emit(
        {"file": str(out), "state": facts.state.value, "published_at": published_at},
        lambda: _print(out, facts),
    )


def _print(out: Path, facts: ReportFacts) -> None:
    print(out)
    full, last = facts.last_sync, facts.published
    print(f"last full run     {instant(full.published_at if full else None)}")
    print(f"last publication  {instant(last.published_at if last else None)}")
