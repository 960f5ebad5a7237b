"""The report: one HTML file that needs nothing else, for a screen, a phone and paper."""

import base64
import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from worker.core.display import LEAST, SmallNumbers, xml_text
from worker.core.effect import RestrictionGroup
from worker.files import named_faults, write_atomically
from worker.report.facts import read_facts
from worker.report.figures import GROUPS, Amount, CodeKey, Movement, ReportFacts
from worker.report.language import LANGUAGES, NOTHING, language
from worker.report.overview import NIGHTS_MIN, Number, Overview
from worker.report.parts import Cell, Row, Table
from worker.views import Read

_TEMPLATES: Final = Path(__file__).with_name("templates")
_HTML: Final = b"<!DOCTYPE html>"
COHORTS_SHOWN = 16
"""As many as fit on a printed page."""


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
        out: the file; an old report is replaced, and nothing else.
        timezone: of the times shown, e.g. ``schedule.timezone``.
        in_language: one of ``LANGUAGES``.
        min_cell: the limit of ``SmallNumbers``.
        cohort: the clinic or department that the report is about; None: everybody.

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

    def week(self) -> Table | None:
        """What came, changed and went in the last seven days, by group."""
        words, week = self.words, self.facts.week
        rows = [
            Row([Cell(words.group(group)), *self._movement(week[group])], group=group)
            for group in (*GROUPS, RestrictionGroup.PENDING)
            if group in week
        ]
        head = [words.text(key) for key in ("group", "added", "changed", "removed")]
        return Table(words.text("week_caption"), head, rows) if rows else None

    def _movement(self, movement: Movement) -> list[Cell]:
        return [self.cell(count) for count in (movement.added, movement.changed, movement.removed)]

    def code_table(self) -> Table | None:
        """What is in effect, by group and code."""
        words, total = self.words, self.facts.last.total
        rows = []
        top = max((self.shown(amount) or 0 for amount in self.facts.codes.values()), default=0)
        for group in GROUPS:
            inside = sorted(
                ((key, amount) for key, amount in self.facts.codes.items() if key.group == group),
                # By what is shown: the order says nothing of the numbers that are not.
                key=lambda item: (-(self.shown(item[1]) or 0), item[0].code),
            )
            if inside:
                amount, then = self.facts.last.of(group), self.facts.then
                change = self.change(amount, then.of(group)) if then else ""
                rows.append(self._sum(words.group(group), amount, change, group=group))
                rows += [self._code_row(key, amount, top) for key, amount in inside]
        if not rows:
            return None
        then = self.facts.then
        change = self.change(total, then.total) if then else ""
        rows.append(self._sum(words.text("total"), total, change))
        head = [words.text(key) for key in ("code", "in_effect", "share", "change")]
        return Table(words.text("codes_caption"), [*head[:2], "", *head[2:]], rows)

    def _sum(self, text: str, number: Number, change: str, *, group: str = "") -> Row:
        share = Cell(self.share(number, self.facts.last.total))
        cells = [Cell(text), self.cell(number), Cell(""), share]
        return Row([*cells, Cell(change or NOTHING)], group=group, is_head=True)

    def _code_row(self, code: CodeKey, amount: Amount, top: int) -> Row:
        words = self.words
        key = code.code.replace("-", "_")
        known = words.name("9603", key) or words.name("privacy_type", key)
        name = known or words.text("code_unknown")
        if level := words.name("privacy_level", code.level):
            name = f"{name}. {level}"
        title = " ".join(filter(None, (code.code, code.level))) or words.text("code_empty")
        then = self.facts.codes_then.get(code)
        change = self.change(amount, then) if then else ""
        if self.facts.then is not None and then is None:
            change = words.text("code_new")
        return Row(
            [
                Cell(title, small=name),
                self.cell(amount),
                Cell("", bar=round((self.shown(amount) or 0) / (top or 1) * 100, 1)),
                Cell(self.share(amount, self.facts.last.total)),
                Cell(change or NOTHING),
            ],
            group=code.group,
        )

    def causes(self) -> Table | None:
        """How what is in effect came about: set by a person, or by a rule."""
        words = self.words
        whole = sum(amount.restrictions for amount in self.facts.causes.values())
        unnamed = {"": words.text("cause_none")}
        rows = [
            Row(
                [
                    Cell(
                        words.name("cause", cause) or unnamed.get(cause, words.text("code_unknown"))
                    ),
                    self.cell(amount),
                    Cell(self.share(amount, whole)),
                ]
            )
            for cause, amount in sorted(self.facts.causes.items())
        ]
        head = [words.text(key) for key in ("cause", "restrictions", "share")]
        return Table(words.text("causes_caption"), head, rows) if rows else None

    def ends(self) -> Table | None:
        """When delays end."""
        return self._by_time("ends", "ends", self.facts.ends)

    def ages(self) -> Table | None:
        """How old what is in effect is in PTS."""
        return self._by_time("ages", "age", self.facts.ages)

    def expired(self) -> Table | None:
        """What PTS lists after its end, by how long ago that was."""
        return self._by_time("expired", "age", self.facts.expired)

    def _by_time(self, text: str, system: str, amounts: Mapping[str, Amount]) -> Table | None:
        names = self.words.names(system)
        shown = [(names[code], amounts[code]) for code in names if code in amounts]
        caption = f"{text}_caption"
        return self._plain(caption, "restrictions", shown, first=f"{text}_first") if shown else None

    def cohorts(self) -> Table | None:
        """Persons by cohort, the highest rate first, hidden ones last."""
        words = self.words
        rates: list[tuple[float, list[Cell]]] = []
        for found in self.facts.cohorts:
            persons, roster = self.shown(found.in_effect), self.shown(found.roster)
            rate = None if persons is None or not roster else persons / roster
            added, _, removed = self._movement(found.week)
            cells = [
                Cell(found.cohort or words.text("cohort_none")),
                self.cell(found.roster),
                self.cell(found.in_effect),
                Cell(NOTHING if rate is None else words.number(rate * 1000)),
                added,
                removed,
            ]
            rates.append((-1 if rate is None else rate, cells))
        rates.sort(key=lambda item: item[0], reverse=True)
        rows = [Row(cells) for _, cells in rates[:COHORTS_SHOWN]]
        names = ("cohort", "roster", "persons", "per_1000", "added_week", "removed_week")
        head = [words.text(key) for key in names]
        return Table(words.text("cohorts_caption"), head, rows) if rows else None

    def freshness_table(self) -> Table | None:
        """The days on which not everybody was confirmed, the newest first."""
        words, rows = self.words, []
        for night in reversed(self.facts.nights):
            if night.stale:
                numbers = (night.roster, night.confirmed, night.stale)
                share = Cell(self.confirmed(night) or NOTHING)
                rows.append(Row([Cell(words.full_day(night.day)), *map(self.cell, numbers), share]))
        head = [words.text(key) for key in ("date", "roster", "confirmed", "stale", "share")]
        return Table(words.text("freshness_table"), head, rows) if rows else None

    def failures(self) -> Table | None:
        """Persons that could not be read, by kind of failure."""
        rows = [
            (self.words.name("failure_kind", kind), persons)
            for kind, persons in self.facts.last.failed.items()
        ]
        return self._plain("failures", "persons", rows, first="failure") if rows else None

    def _plain(
        self, caption: str, amount: str, rows: Iterable[tuple[str, Number]], *, first: str
    ) -> Table:
        head = (self.words.text(first), self.words.text(amount))
        shown = [Row([Cell(text), self.cell(number)]) for text, number in rows]
        return Table(self.words.text(caption), head, shown)
