"""The report: one self-contained HTML file for screen, phone and paper."""

import base64
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from worker.core.area import AREAS
from worker.core.display import LEAST, ShownCount, SmallNumbers, xml_text
from worker.core.effect import RestrictionGroup
from worker.core.value import Value
from worker.files import convert_write_errors, write_atomically
from worker.report.disclosure import RATE_ROSTER_MIN, ShownNight
from worker.report.facts import read_facts
from worker.report.figures import GROUPS, CodeKey, ReportFacts
from worker.report.language import LANGUAGES, NO_NUMBER, language
from worker.report.overview import NIGHTS_MIN, Overview, grammatical_number
from worker.report.parts import Cell, Row, Table, without_empty_columns
from worker.views import Read, systems_of

_TEMPLATES: Final = Path(__file__).with_name("templates")
_HTML: Final = b"<!DOCTYPE html>"


class Source(Value, frozen=True):
    """The source of a report's figures.

    Attributes:
        service: the PTS that filled the database, as an environment or an address.
        organisation: the organisation number of the HelseID client.
        is_made_up: whether all persons of this PTS are synthetic.
    """

    service: str = ""
    organisation: str = ""
    is_made_up: bool = False


_NO_SOURCE: Final = Source()


async def write_report(
    read: Read,
    out: Path,
    *,
    now: datetime,
    timezone: str = "Europe/Oslo",
    in_language: str = LANGUAGES[0],
    min_cell: int = LEAST,
    cohort: str | None = None,
    source: Source = _NO_SOURCE,
) -> ReportFacts:
    """Read the published state, and write the report in one step, with mode 0600.

    Args:
        read: runs a function in a read transaction, e.g. ``Database.read``.
        out: the file. An old report is replaced, any other file is not.
        timezone: the time zone of the report, e.g. ``schedule.timezone``.
        in_language: one of ``LANGUAGES``.
        min_cell: the limit of ``SmallNumbers``.
        cohort: the clinic or department to report. None: all persons.
        source: the source of the figures.

    Raises:
        UsageError: no publication has this cohort.
        ConfigurationError: the file cannot be written, or exists and is not a report.
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
        source=source,
        t=words.text,
        words=words,
        zone=zone,
        style=style,
        style_digest=digest,
        min_cell=min_cell,
        nights_min=NIGHTS_MIN,
    )
    # The template escapes text from outside. Characters that XML forbids are replaced here, because
    # they are forbidden even as escapes.
    with convert_write_errors(out):
        if _is_other(out):
            raise FileExistsError
        write_atomically(out, xml_text(rendered).encode())
    return facts


def _is_other(path: Path) -> bool:
    """Whether a file exists that is not a report, such as a database or a key."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_HTML)) not in {_HTML, b""}


@cache
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,  # a misspelt name is an error, not an empty figure
        trim_blocks=True,
        lstrip_blocks=True,
    )


class Page(Overview):
    """All parts of one report."""

    def origin(self, source: Source) -> Iterator[str]:
        """Yield the PTS and the organisation of the figures."""
        words = self.words
        if source.service:
            keys = {"production": "source_production", "test": "source_test"}
            yield words.text(keys.get(source.service, "source_other"), service=source.service)
        if source.organisation:
            yield words.text("organisation", number=source.organisation)

    def week(self) -> Table | None:
        """Return the changes of the last seven days, by group."""
        words, week, expired = self.words, self.shown.week, self.shown.week_expired
        nothing = self.small.count(0)
        rows = []
        for group in (*GROUPS, RestrictionGroup.PENDING):
            if group in week or group in expired:
                counts = (*week.get(group, [nothing] * 3), expired.get(group, nothing))
                cells = [Cell(words.group(group)), *map(self.cell, counts)]
                rows.append(Row(cells, group=group))
        names = ("group", "added", "changed", "removed", "expired_week")
        return self._table("week_caption", names, rows) if rows else None

    def week_none(self) -> str:
        """Return the text for a week without a table."""
        return self.words.text("week_first" if self.facts.last.publication_no == 1 else "week_none")

    def code_table(self) -> Table | None:
        """Return the restrictions in effect, by group and code."""
        words, codes = self.words, self.shown.codes
        rows = []
        # The bar of the largest code fills the column.
        top = max((count.number or 0 for count in codes.values()), default=0)
        for group in GROUPS:
            counts = sorted(
                (item for item in codes.items() if item[0].group == group),
                # By the shown number, because an order by exact counts would reveal small ones.
                key=lambda item: (-(item[1].number or 0), item[0].code, item[0].level),
            )
            if counts:
                rows.append(self._total_row(partial(ShownNight.of, group=group), group))
                rows += [self._code_row(key, count, top) for key, count in counts]
        if not rows:
            return None
        rows.append(self._total_row(lambda night: night.total))
        head = [words.text(key) for key in ("code", "in_effect", "share", "change")]
        table = Table(words.text("codes_caption"), [*head[:2], "", *head[2:]], rows)
        return without_empty_columns(table, NO_NUMBER)

    def codes_lead(self, table: Table) -> str:
        """Return the text above the table: the base of shares and of changes."""
        words, then = self.words, self.facts.then
        lead = [words.text("codes_lead")] if words.text("share") in table.head else []
        if then is None:
            lead.append(words.text("codes_no_then"))
        elif words.text("change") in table.head:
            lead.append(words.text("codes_then", then=words.full_day(then.day)))
        return " ".join(lead)

    def _total_row(self, count: Callable[[ShownNight], ShownCount], group: str = "") -> Row:
        last, then = self.shown.last, self.shown.then
        change = self.change(count(last), count(then)) if then else ""
        text = self.words.group(group) if group else self.words.text("total")
        share = Cell(self.share(count(last), last.total))
        cells = [Cell(text), self.cell(count(last)), Cell(""), share, Cell(change or NO_NUMBER)]
        return Row(cells, group=group, is_head=True)

    def _code_row(self, key: CodeKey, count: ShownCount, top: int) -> Row:
        then = self.shown.codes_then.get(key)
        change = self.change(count, then) if then else ""
        has_appeared = self.shown.then is not None and then is None
        if has_appeared and (count.number or 0) >= self.least_change:
            change = self.words.text("code_new")
        bar = round((count.number or 0) / (top or 1) * 100, 1)
        share = Cell(self.share(count, self.shown.last.total))
        cells = [self._code_cell(key), self.cell(count), Cell("", bar=bar), share]
        return Row([*cells, Cell(change or NO_NUMBER)], group=key.group)

    def _code_cell(self, key: CodeKey) -> Cell:
        """Return the name of a code, with the code in small type. Unknown codes have no name."""
        words = self.words
        name = self._name(key.code, (area.effect.code for area in AREAS))
        # Without a name, the code is "other", which the facts have for all unknown codes, or empty.
        small = " ".join(filter(None, (key.code, key.level))) if name else ""
        name = name or words.text("code_unknown" if key.code else "code_empty")
        level = self._name(key.level, (area.effect.level for area in AREAS))
        return Cell(f"{name}. {level}" if level else name, small=small)

    def _name(self, code: str, columns: Iterable[str]) -> str:
        """Return the name of a code of one of these columns. Empty for an unknown code."""
        names = (self.words.name(name, code) for column in columns for name in systems_of(column))
        return next(filter(None, names), "")

    def causes(self) -> Table | None:
        """Return the restrictions in effect by cause: set by a person, or by a rule."""
        words, causes = self.words, self.shown.causes or {}
        # Shares are of the table's sum, because only some areas have a cause.
        numbers = [count.number for count in causes.values()]
        whole = self.small.count(0 if None in numbers else sum(filter(None, numbers)))
        rows = [
            Row(
                [
                    Cell(words.name("cause", cause) or words.text("cause_unknown")),
                    self.cell(count),
                    Cell(self.share(count, whole)),
                ]
            )
            for cause, count in sorted(causes.items())
        ]
        table = self._table("causes_caption", ("cause", "restrictions", "share"), rows)
        return without_empty_columns(table, NO_NUMBER) if rows else None

    def pending(self) -> str:
        """Return the sentence about rules for future results."""
        count = self.shown.last.of(RestrictionGroup.PENDING)
        return self.words.text("pending", n=grammatical_number(count), amount=self.prose(count))

    def absence(self, name: str) -> str:
        """Return the text in place of an absent table: no rows, or too few persons."""
        if getattr(self.shown, name) is None:
            return self.words.text("too_few")
        return self.words.text(f"{name}_none")

    def by_time(self, name: str) -> Table | None:
        """Return one of ``ages``, ``ends`` and ``expired``: restrictions by a time."""
        times = self.words.names("ends" if name == "ends" else "age")
        counts: Mapping[str, ShownCount] = getattr(self.shown, name) or {}
        # In the order of the code system, which is the order of time.
        rows = [(times[code], counts[code]) for code in times if code in counts]
        if name == "expired":
            rows = [(self.words.text("ago", time=time), count) for time, count in rows]
        caption = f"{name}_caption"
        return (
            self._counts_table(caption, "restrictions", rows, first=f"{name}_first")
            if rows
            else None
        )

    def cohorts(self) -> Table | None:
        """Return the persons by cohort."""
        words, has_weeks = self.words, self.shown.has_cohort_weeks
        rows = [
            Row(
                [
                    Cell(cohort.name or words.text("cohort_none")),
                    self.cell(cohort.roster),
                    self.cell(cohort.persons),
                    Cell(NO_NUMBER if cohort.rate is None else words.per_1000(cohort.rate)),
                    self.cell(cohort.week[0] if has_weeks else None),
                    self.cell(cohort.week[-1] if has_weeks else None),
                ]
            )
            for cohort in self.shown.cohorts
        ]
        names = ("cohort", "roster", "restricted", "per_1000", "added_week", "removed_week")
        table = self._table("cohorts_caption", names, rows)
        return without_empty_columns(table, NO_NUMBER) if rows else None

    def cohort_notes(self) -> Iterator[str]:
        """Yield notes below the table: cohorts without a rate, and cohorts that are not in it."""
        cohorts, words = self.shown.cohorts, self.words
        if any(cohort.rate is None for cohort in cohorts):
            yield words.text("cohorts_without_rate", least=RATE_ROSTER_MIN)
        if len(self.facts.cohorts) > len(cohorts):
            yield words.text("cohorts_more", shown=len(cohorts), n=len(self.facts.cohorts))

    def freshness(self) -> str:
        """Return the confirmed share of the roster, and the number of missing persons."""
        words, last = self.words, self.shown.last
        share = self.confirmed(last)
        lead = [words.text("freshness_lead", share=share)] if share else []
        if self.facts.last.missing:
            amount = self.prose(last.missing)
            text = words.text(
                "freshness_missing", n=grammatical_number(last.missing), amount=amount
            )
            lead.append(text[0].upper() + text[1:])
        return " ".join(lead)

    def freshness_table(self) -> Table | None:
        """Return the days with stale or missing persons, the newest first."""
        words, rows = self.words, []
        for night, counts in zip(self.facts.nights, self.shown.nights, strict=True):
            if night.stale or night.missing:
                # Only the share of confirmed persons, as a bound: their rounded number could be 300
                # of 300 beside a few stale persons.
                states = (counts.roster, counts.stale, counts.missing)
                share = Cell(self.confirmed(counts) or NO_NUMBER)
                rows.append(Row([Cell(words.full_day(night.day)), *map(self.cell, states), share]))
        names = ("date", "roster", "stale", "missing", "confirmed")
        table = self._table("freshness_table", names, rows[::-1])
        return without_empty_columns(table, words.number(0)) if rows else None

    def failures(self) -> Table | None:
        """Return the numbers of persons with a failed read, by kind of failure."""
        rows = [
            (self.words.name("failure_kind", kind), self.small.count(persons))
            for kind, persons in self.facts.last.failed.items()
        ]
        return self._counts_table("failures", "persons", rows, first="failure") if rows else None

    def _counts_table(
        self, caption: str, amount: str, rows: Iterable[tuple[str, ShownCount]], *, first: str
    ) -> Table:
        cells = [Row([Cell(text), self.cell(count)]) for text, count in rows]
        return self._table(caption, (first, amount), cells)

    def _table(self, caption: str, names: Iterable[str], rows: Sequence[Row]) -> Table:
        """Return a table. The caption and the names of columns are keys of texts."""
        return Table(self.words.text(caption), [self.words.text(name) for name in names], rows)
