"""The tables of the report, for the template."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from worker.core.model import RunKind
from worker.report.disclosure import INDEFINITE, LATER, NONE, NOT_NOW, OPEN
from worker.report.figures import GROUPS, CodeKey, RunFacts
from worker.report.language import NOTHING
from worker.report.overview import Overview
from worker.report.parts import Cell, Row, Table

COHORTS_SHOWN = 16
"""As many as fit on a printed page."""


class Page(Overview):
    """All parts of one report."""

    def code_table(self) -> Table | None:
        """What is in effect, by group and code."""
        words, number = self.words, self.facts.last.publication_no
        keys = {
            key: facts.in_effect.restrictions
            for key, facts in self.facts.codes.items()
            if facts.in_effect.restrictions
        }
        if not keys:
            return None
        rows = []
        top = max((self.shown.value(("code", number, key)) or 0 for key in keys), default=0)
        for group in GROUPS:
            inside = sorted(
                (key for key in keys if key.group == group),
                key=lambda key: (-(self.shown.value(("code", number, key)) or 0), key.code),
            )
            if inside:
                rows.append(self._group_row(group))
                rows += [self._code_row(key, top) for key in inside]
        change = self.change(lambda night: ("total", night))
        rows.append(self._sum("total", ("total", number), Cell(words.percent(1)), change))
        head = [words.text(key) for key in ("code", "in_effect", "share", "change")]
        return Table(words.text("codes_caption"), [*head[:2], "", *head[2:]], rows)

    def _group_row(self, group: str) -> Row:
        key = ("group", self.facts.last.publication_no, group)
        change = self.change(lambda night: ("group", night, group))
        return self._sum(f"group_{group}", key, self._share(key), change, group=group)

    def _sum(self, text: str, key: Any, share: Cell, change: str, *, group: str = "") -> Row:
        cells = [Cell(self.words.text(text)), self.cell(key), Cell(""), share]
        return Row([*cells, Cell(change or NOTHING)], group=group, is_head=True)

    def _share(self, key: Any) -> Cell:
        part = self.shown.value(key)
        total = self.shown.value(("total", self.facts.last.publication_no))
        return Cell(NOTHING if part is None or not total else self.words.percent(part / total, 1))

    def _code_row(self, code: CodeKey, top: int) -> Row:
        words = self.words
        key = ("code", self.facts.last.publication_no, code)
        value = self.shown.value(key)
        change = self.change(lambda night: ("code", night, code))
        then = self.facts.then
        if value is not None and then is not None:
            before = self.facts.codes_then.get(code)
            if before is None or not before.in_effect.restrictions:
                change = words.text("code_new")
        system = "9603" if code.area == "patient-safety" else "privacy_type"
        name = words.name(system, code.code.replace("-", "_")) or words.text("code_unknown")
        if level := words.name("privacy_level", code.level):
            name = f"{name}. {level}"
        title = " ".join(filter(None, (code.code, code.level))) or words.text("code_empty")
        return Row(
            [
                Cell(title, small=name),
                self.cell(key),
                Cell("", bar=round((value or 0) / (top or 1) * 100, 1)),
                self._share(key),
                Cell(change or NOTHING),
            ],
            group=code.group,
        )

    def reconciliation(self) -> Table:
        """The steps from all open restrictions to those in effect."""
        keys: Mapping[str, Any] = {
            "reconciliation_open": OPEN,
            "reconciliation_none": NONE,
            "reconciliation_not_now": NOT_NOW,
            "reconciliation_in_effect": ("total", self.facts.last.publication_no),
        }
        return self._plain(
            "reconciliation",
            "restrictions",
            [(self.words.text(text), key) for text, key in keys.items()],
            first="reconciliation_step",
        )

    def ends(self) -> Table:
        """When delays end, by week."""
        words, begin = self.words, self.facts.last.published_at.astimezone(self.zone)
        weeks = [
            (words.short_day((begin + timedelta(weeks=week)).date()), ("week", week))
            for week in range(len(self.facts.ends.weeks))
        ]
        others = [(words.text("ends_later"), LATER), (words.text("ends_never"), INDEFINITE)]
        top = max((self.shown.value(key) or 0 for _, key in weeks), default=0)
        rows = [
            Row(
                [
                    Cell(text),
                    self.cell(key),
                    Cell("", bar=round((self.shown.value(key) or 0) / (top or 1) * 100, 1)),
                ],
                group="delayed",
            )
            for text, key in weeks
        ]
        rows += [Row([Cell(text), self.cell(key), Cell("")]) for text, key in others]
        head = (words.text("ends_week"), words.text("restrictions"), "")
        return Table(words.text("ends_caption"), head, rows)

    def cohorts(self) -> Table | None:
        """Persons by cohort, the highest rate first, hidden ones last."""
        words, shown = self.words, self.shown
        rates: dict[str, float | None] = {}
        for found in self.facts.cohorts:
            persons = shown.value(("cohort", found.cohort))
            roster = shown.value(("cohort roster", found.cohort))
            rates[found.cohort] = None if persons is None or not roster else persons / roster
        top = max((rate for rate in rates.values() if rate), default=1)
        rows = [
            Row(
                [
                    Cell(cohort or words.text("cohort_none")),
                    self.cell(("cohort roster", cohort)),
                    self.cell(("cohort", cohort)),
                    Cell(NOTHING)
                    if rate is None
                    else Cell(words.number(rate * 1000), heat=round(rate / top * 5)),
                ]
            )
            for cohort, rate in sorted(
                rates.items(), key=lambda item: -1 if item[1] is None else item[1], reverse=True
            )[:COHORTS_SHOWN]
        ]
        head = [words.text(key) for key in ("cohort", "roster", "persons", "per_1000")]
        return Table(words.text("cohorts_caption"), head, rows) if rows else None

    def durations(self) -> Table | None:
        """How long restrictions were open, if they concern enough persons."""
        words, rows = self.words, []
        for found in self.facts.durations:
            key = ("duration", found.area)
            amount = self.cell(key)
            median = Cell(amount.text, amount.spoken)
            if self.shown.value(key) is not None:
                median = Cell(words.number(found.median_days))
            rows.append(Row([Cell(words.text(f"area_{found.area}")), amount, median]))
        head = [words.text(key) for key in ("area", "restrictions", "median")]
        return Table(words.text("durations_caption"), head, rows) if rows else None

    def freshness_table(self) -> Table:
        """Confirmed and stale persons by day, the newest first."""
        words, rows = self.words, []
        for night in reversed(self.facts.nights):
            cells = [
                self.cell((name, night.publication_no)) for name in ("roster", "confirmed", "stale")
            ]
            share = Cell(self.confirmed(night) or NOTHING)
            rows.append(Row([Cell(words.full_day(night.day)), *cells, share]))
        head = [words.text(key) for key in ("date", "roster", "confirmed", "stale", "share")]
        return Table(words.text("freshness_table"), head, rows)

    def failures(self) -> Table | None:
        """Persons that could not be read, by kind of failure."""
        rows = [
            (self.words.name("failure_kind", kind), ("failed", kind))
            for kind in self.facts.last.failed
        ]
        return self._plain("failures", "persons", rows, first="failure") if rows else None

    def _plain(
        self, caption: str, amount: str, rows: Sequence[tuple[str, Any]], *, first: str
    ) -> Table:
        head = (self.words.text(first), self.words.text(amount))
        shown = [Row([Cell(text), self.cell(key)]) for text, key in rows]
        return Table(self.words.text(caption), head, shown)

    def runs(self) -> Table:
        """The last runs."""
        words = self.words
        rows = [
            Row(
                [
                    Cell(
                        str(run.run_id),
                        small=words.text("backfill") if run.kind == RunKind.BACKFILL else "",
                    ),
                    Cell(words.short_moment(run.started_at, self.zone)),
                    Cell(self.ending(run)),
                    Cell(words.lasted(run.duration_s)),
                    *self._totals(run),
                ]
            )
            for run in self.facts.runs
        ]
        keys = ("run", "started", "ending", "took", "persons", "requests")
        return Table(words.text("annex_caption"), [words.text(key) for key in keys], rows, text=3)

    def _totals(self, run: RunFacts) -> list[Cell]:
        """Persons and requests; the ledger has them for published runs only."""
        if run.published_at is None:
            return [Cell(""), Cell("")]
        return [Cell(self.words.number(count)) for count in (run.persons_total, run.requests)]
