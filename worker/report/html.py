"""The report: one HTML file that needs nothing else, for a screen, a phone and paper."""

import base64
import hashlib
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from worker.core.escaping import xml_text
from worker.core.small_numbers import LEAST, SmallNumbers
from worker.files import named_faults, write_atomically
from worker.report.facts import read_facts
from worker.report.figures import ReportFacts
from worker.report.language import LANGUAGES, language
from worker.report.numbers import NIGHTS_MIN
from worker.report.page import COHORTS_SHOWN, Page
from worker.views import Read

_TEMPLATES: Final = Path(__file__).with_name("templates")


async def write_report(
    read: Read,
    out: Path,
    *,
    now: datetime,
    timezone: str = "Europe/Oslo",
    in_language: str = LANGUAGES[0],
    min_cell: int = LEAST,
    cohort: str | None = None,
) -> ReportFacts:
    """Read the published state and write the report, mode 0600, at once.

    Args:
        read: runs a function in a read transaction, e.g. ``Database.read``.
        out: the file; an old one is replaced.
        timezone: of the times shown, e.g. ``schedule.timezone``.
        in_language: one of ``LANGUAGES``.
        min_cell: the limit of ``SmallNumbers``.
        cohort: the clinic or department that the report is about; None: everybody.

    Raises:
        UsageError: the last publication has no such cohort.
        ConfigurationError: the file cannot be written.
        UnavailableError: the database cannot be used.
    """
    facts = await read_facts(read, now=now, cohort=cohort)
    style = (_TEMPLATES / "report.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    words, zone = language(in_language), ZoneInfo(timezone)
    page = _templates().get_template("report.html")
    rendered = page.render(
        page=Page(facts, words, zone, SmallNumbers(min_cell)),
        facts=facts,
        t=words.text,
        words=words,
        zone=zone,
        style=style,
        style_digest=digest,
        min_cell=min_cell,
        nights_min=NIGHTS_MIN,
        cohorts_shown=COHORTS_SHOWN,
    )
    # Text from outside is escaped, and holds no character that XML forbids.
    with named_faults(out):
        write_atomically(out, xml_text(rendered).encode())
    return facts


@cache
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
