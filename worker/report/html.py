"""The report: one HTML file that needs nothing else, for a screen, a phone and paper."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from worker.files import write_private
from worker.report.facts import read_facts
from worker.report.figures import ReportFacts
from worker.report.markup import Html, el
from worker.report.reading import Read
from worker.report.restrictions import changes_part, restrictions_part
from worker.report.standing import freshness_part, head_part, runs_part
from worker.report.words import local, utc

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
"""The file holds health data: whatever may ever get into it, a browser loads and runs nothing."""
_SHEET: Final = Path(__file__).with_name("report.css")


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
    """The page."""
    zone = ZoneInfo(timezone)
    parts = [head_part(facts, zone)]
    if facts.published is not None:
        body = [
            restrictions_part(facts),
            changes_part(facts),
            freshness_part(facts, zone),
            runs_part(facts, zone),
        ]
    else:
        body = [runs_part(facts, zone)]
    parts += [el("main", *body), _foot(facts, zone)]
    page = el("html", _meta(), el("body", *parts), lang="en")
    return f"<!DOCTYPE html>\n{page}\n"


def _meta() -> Html:
    return el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="referrer", content="no-referrer"),
        el("meta", name="robots", content="noindex, nofollow"),
        el("title", "PTS access restrictions"),
        el("style", Html(_SHEET.read_text("utf-8"))),
    )


def _foot(facts: ReportFacts, zone: ZoneInfo) -> Html:
    return el(
        "footer",
        el("p", f"Made {utc(facts.made_at)} ({local(facts.made_at, zone)}). Days are UTC days."),
        el(
            "p",
            "A restriction counts from the publication that first showed it to the one that no "
            "longer does. Persons are counted by the identifier on the roster: whoever had two of "
            "them is counted twice.",
        ),
    )
