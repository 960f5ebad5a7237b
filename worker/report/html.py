"""The report: one HTML file that needs nothing else, for a screen, a phone and paper."""

from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from worker.core.escaping import xml_text
from worker.files import write_private
from worker.report import restrictions, standing
from worker.report.facts import read_facts
from worker.report.figures import STALE_SHOWN, ReportFacts
from worker.report.reading import Read
from worker.report.words import local, number, utc


async def write_report(
    read: Read,
    out: Path,
    *,
    now: datetime,
    timezone: str = "Europe/Oslo",
    fresh_within: timedelta = timedelta(hours=26),
    include_local_ref: bool = False,
    tenant: str | None = None,
) -> ReportFacts:
    """Read the published state and write the report, mode 0600, at once.

    Args:
        read: runs a function in a read transaction, e.g. ``Database.read``.
        out: the file; an old one is replaced.
        now: the time of the report, aware.
        timezone: shown besides UTC, e.g. ``schedule.timezone``.
        fresh_within: a full run published longer ago makes the copy "stale".
        include_local_ref: name stale persons by the organisation's own reference instead of the
            beginning of their pseudonym.
        tenant: tell of this tenant alone.

    Raises:
        ConfigurationError: the file cannot be written.
        UnavailableError: the database cannot be used.
    """
    facts = await read_facts(
        read,
        now=now,
        fresh_within=fresh_within,
        include_local_ref=include_local_ref,
        tenant=tenant,
    )
    write_private(out, render(facts, timezone=timezone).encode())
    return facts


def render(facts: ReportFacts, *, timezone: str = "Europe/Oslo") -> str:
    """The page. Text from outside is escaped, and holds no character that XML forbids."""
    template = _templates().get_template("report.html")
    page = template.render(
        facts=facts,
        zone=ZoneInfo(timezone),
        standing=standing,
        restrictions=restrictions,
        stale_shown=STALE_SHOWN,
    )
    return xml_text(page)


def _templates() -> Environment:
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {"local": local, "number": number, "utc": utc}
    return templates
