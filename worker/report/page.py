"""The report: one HTML file that needs nothing else, for a screen, a phone and paper."""

import base64
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
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
from worker.files import named_faults, write_atomically
from worker.report.facts import read_facts
from worker.report.figures import GROUPS, CodeKey, ReportFacts
from worker.report.language import LANGUAGES, NOTHING, language
from worker.report.overview import NIGHTS_MIN, Overview
from worker.report.parts import Cell, Row, Table, without_empty_columns
from worker.report.shown import RANKED_MIN, ShownNight
from worker.views import Read, systems_of

_TEMPLATES: Final = Path(__file__).with_name("templates")
_HTML: Final = b"<!DOCTYPE html>"


class Source(Value, frozen=True):
    """Where a report's figures come from.

    Attributes:
        service: the PTS that filled the database: an environment, or an address.
        organisation: the organisation number of the HelseID client.
        is_made_up: whether that PTS has no real persons.
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
    """Read the published state and write the report, mode 0600, at once.

    Args:
        read: runs a function in a read transaction, e.g. ``Database.read``.
        out: the file; an old report is replaced, and nothing else.
        timezone: of the times shown, e.g. ``schedule.timezone``.
        in_language: one of ``LANGUAGES``.
        min_cell: the limit of ``SmallNumbers``.
        cohort: the clinic or department that the report is about; None: all persons.
        source: where the figures come from.

    Raises:
        UsageError: the last publication has no such cohort.
        ConfigurationError: the file cannot be written, or is there and is no report.
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
    # Text from outside is escaped, and holds no character that XML forbids.
    with named_faults(out):
        if _is_other(out):
            raise FileExistsError
        write_atomically(out, xml_text(rendered).encode())
    return facts


def _is_other(path: Path) -> bool:
    """Whether there is a file that is no report: a database or a key, named by mistake."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_HTML)) not in {_HTML, b""}


@cache
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


class Page(Overview):
    """All parts of one report."""

    def origin(self, source: Source) -> Iterator[str]:
        """The PTS that the figures come from, and for which organisation."""
        words = self.words
        if source.service:
            known = {"production": "source_production", "test": "source_test"}
            yield words.text(known.get(source.service, "source_other"), service=source.service)
        if source.organisation:
            yield words.text("organisation", number=source.organisation)

    def week(self) -> Table | None:
        """Added, changed, removed and expired in the last seven days, by group."""
        words, week, expired = self.words, self.shown.week, self.shown.week_expired
        nothing = self.small.count(0)
        rows = []
        for group in (*GROUPS, RestrictionGroup.PENDING):
            if group in week or group in expired:
                counts = (*week.get(group, [nothing] * 3), expired.get(group, nothing))
                cells = [Cell(words.group(group)), *map(self.cell, counts)]
                rows.append(Row(cells, group=group))
        head = [words.text(key) for key in ("group", "added", "changed", "removed", "expired_week")]
        return Table(words.text("week_caption"), head, rows) if rows else None

    def code_table(self) -> Table | None:
        """Restrictions in effect, by group and code."""
        words, shown = self.words, self.shown
        rows = []
        top = max((count.number or 0 for count in shown.codes.values()), default=0)
        for group in GROUPS:
            inside = sorted(
                (item for item in shown.codes.items() if item[0].group == group),
                # By the shown number: the order reveals nothing of the others.
                key=lambda item: (-(item[1].number or 0), item[0].code, item[0].level),
            )
            if inside:
                rows.append(self._sum(partial(ShownNight.of, group=group), group))
                rows += [self._code_row(key, count, top) for key, count in inside]
        if not rows:
            return None
        rows.append(self._sum(lambda night: night.total))
        head = [words.text(key) for key in ("code", "in_effect", "share", "change")]
        table = Table(words.text("codes_caption"), [*head[:2], "", *head[2:]], rows)
        return without_empty_columns(table, NOTHING)

    def codes_lead(self, table: Table) -> str:
        """The words above this table: whole of the shares, and beginning of the changes."""
        words, then = self.words, self.facts.then
        lead = [words.text("codes_lead")]
        if then is None:
            lead.append(words.text("codes_no_then"))
        elif words.text("change") in table.head:
            lead.append(words.text("codes_then", then=words.full_day(then.day)))
        return " ".join(lead)

    def _sum(self, count: Callable[[ShownNight], ShownCount], group: str = "") -> Row:
        last, then = self.shown.last, self.shown.then
        change = self.change(count(last), count(then)) if then else ""
        text = self.words.group(group) if group else self.words.text("total")
        share = Cell(self.share(count(last), last.total))
        cells = [Cell(text), self.cell(count(last)), Cell(""), share, Cell(change or NOTHING)]
        return Row(cells, group=group, is_head=True)

    def _code_row(self, key: CodeKey, count: ShownCount, top: int) -> Row:
        words, shown = self.words, self.shown
        then = shown.codes_then.get(key)
        change = self.change(count, then) if then else ""
        if shown.then is not None and then is None:
            change = words.text("code_new")
        bar = round((count.number or 0) / (top or 1) * 100, 1)
        share = Cell(self.share(count, shown.last.total))
        cells = [self._code(key), self.cell(count), Cell("", bar=bar), share]
        return Row([*cells, Cell(change or NOTHING)], group=key.group)

    def _code(self, key: CodeKey) -> Cell:
        """The meaning of a code, and below it the code, if it is in the list of codes."""
        words, code = self.words, key.code.replace("-", "_")
        name = self._name(code, (area.effect.code for area in AREAS))
        small = " ".join(filter(None, (key.code, key.level))) if name else ""
        name = name or words.text("code_unknown" if code else "code_empty")
        level = self._name(key.level, (area.effect.level for area in AREAS))
        return Cell(f"{name}. {level}" if level else name, small=small)

    def _name(self, code: str, columns: Iterable[str]) -> str:
        """The name of a code of one of these columns. Empty for an unknown code."""
        names = (self.words.name(name, code) for column in columns for name in systems_of(column))
        return next(filter(None, names), "")

    def causes(self) -> Table | None:
        """Restrictions in effect by cause: set by a person, or by a rule."""
        words, causes = self.words, self.shown.causes or {}
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
        head = [words.text(key) for key in ("cause", "restrictions", "share")]
        table = Table(words.text("causes_caption"), head, rows)
        return without_empty_columns(table, NOTHING) if rows else None

    def ends(self) -> Table | None:
        """Delays by the time until their end."""
        return self._by_time("ends", "ends", self.shown.ends)

    def ages(self) -> Table | None:
        """Restrictions in effect by their age in PTS."""
        return self._by_time("ages", "age", self.shown.ages)

    def expired(self) -> Table | None:
        """Restrictions that PTS lists after their end, by the time since then."""
        return self._by_time("expired", "age", self.shown.expired)

    def none(self, name: str) -> str:
        """The text in place of one of these tables: there is nothing to show, or too little."""
        if getattr(self.shown, name) is None:
            return self.words.text("too_few")
        return self.words.text(f"{name}_none")

    def _by_time(
        self, text: str, system: str, counts: Mapping[str, ShownCount] | None
    ) -> Table | None:
        names = self.words.names(system)
        counts = counts or {}
        shown = [(names[code], counts[code]) for code in names if code in counts]
        caption = f"{text}_caption"
        return self._plain(caption, "restrictions", shown, first=f"{text}_first") if shown else None

    def cohorts(self) -> Table | None:
        """Persons by cohort, the highest rate first, those without a rate last."""
        words, has_weeks = self.words, self.shown.has_cohort_weeks
        rows = [
            Row(
                [
                    Cell(cohort.name or words.text("cohort_none")),
                    self.cell(cohort.roster),
                    self.cell(cohort.persons),
                    Cell(NOTHING if cohort.rate is None else words.number(cohort.rate * 1000)),
                    self.cell(cohort.week[0] if has_weeks else None),
                    self.cell(cohort.week[-1] if has_weeks else None),
                ]
            )
            for cohort in self.shown.cohorts
        ]
        names = ("cohort", "roster", "persons", "per_1000", "added_week", "removed_week")
        table = Table(words.text("cohorts_caption"), [words.text(key) for key in names], rows)
        return without_empty_columns(table, NOTHING) if rows else None

    def cohort_notes(self) -> Iterator[str]:
        """Below the table: cohorts without a rank, and those that are not in it."""
        shown, words = self.shown.cohorts, self.words
        if any(cohort.rate is None for cohort in shown):
            yield words.text("cohorts_unranked", least=RANKED_MIN)
        if len(self.facts.cohorts) > len(shown):
            yield words.text("cohorts_more", shown=len(shown), n=len(self.facts.cohorts))

    def freshness(self) -> str:
        """The confirmed share of the roster, and the persons missing from it."""
        words, last = self.words, self.shown.last
        share = self.confirmed(last)
        lead = [words.text("freshness_lead", share=share)] if share else []
        if self.facts.last.missing:
            plural = 1 if last.missing.number == 1 else 2
            amount = self.cell(last.missing).text
            lead.append(words.text("freshness_missing", n=plural, amount=amount))
        return " ".join(lead)

    def freshness_table(self) -> Table | None:
        """The days on which persons were not confirmed or missing, the newest first."""
        words, rows = self.words, []
        for night, counts in zip(self.facts.nights, self.shown.nights, strict=True):
            if night.stale or night.missing:
                states = (counts.roster, counts.confirmed, counts.stale, counts.missing)
                share = Cell(self.confirmed(counts) or NOTHING)
                rows.append(Row([Cell(words.full_day(night.day)), *map(self.cell, states), share]))
        names = ("date", "roster", "confirmed", "stale", "missing", "share")
        head = [words.text(key) for key in names]
        table = Table(words.text("freshness_table"), head, rows[::-1])
        return without_empty_columns(table, words.number(0)) if rows else None

    def failures(self) -> Table | None:
        """Persons that could not be read, by kind of failure."""
        rows = [
            (self.words.name("failure_kind", kind), self.small.count(persons))
            for kind, persons in self.facts.last.failed.items()
        ]
        return self._plain("failures", "persons", rows, first="failure") if rows else None

    def _plain(
        self, caption: str, amount: str, rows: Iterable[tuple[str, ShownCount]], *, first: str
    ) -> Table:
        head = (self.words.text(first), self.words.text(amount))
        shown = [Row([Cell(text), self.cell(count)]) for text, count in rows]
        return Table(self.words.text(caption), head, shown)
