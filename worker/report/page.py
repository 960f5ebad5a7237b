"""The tables of the report, for the template."""

from collections.abc import Iterable, Sequence

from worker.report.figures import (
    AGES,
    ENDS,
    GROUPS,
    PENDING,
    Amount,
    CodeKey,
    Movement,
    RowFacts,
)
from worker.report.language import NOTHING
from worker.report.numbers import Number
from worker.report.overview import Overview, of_group
from worker.report.parts import Cell, Row, Table

COHORTS_SHOWN = 16
"""As many as fit on a printed page."""
_AGES = [*(f"age_{days}" for days in AGES), "age_more", "age_unknown"]


class Page(Overview):
    """All parts of one report."""

    def week(self) -> Table | None:
        """What came, changed and went in the last seven days, by group."""
        words = self.words
        week = self.facts.week or {}
        moved = [(group, week[group]) for group in (*GROUPS, PENDING) if group in week]
        rows = [
            Row([Cell(words.text(f"group_{group}")), *self._movement(movement)], group=group)
            for group, movement in moved
            if movement != Movement()
        ]
        head = [words.text(key) for key in ("group", "added", "changed", "removed")]
        return Table(words.text("week_caption"), head, rows) if rows else None

    def _movement(self, movement: Movement | None) -> list[Cell]:
        if movement is None:
            return [Cell(NOTHING)] * 3
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
                change = self._group_change(group)
                number = of_group(group)(self.facts.last)
                rows.append(self._sum(f"group_{group}", number, change, group=group))
                rows += [self._code_row(key, amount, top) for key, amount in inside]
        if not rows:
            return None
        then = self.facts.then
        change = self.change(total, then.total) if then else ""
        rows.append(self._sum("total", total, change))
        head = [words.text(key) for key in ("code", "in_effect", "share", "change")]
        return Table(words.text("codes_caption"), [*head[:2], "", *head[2:]], rows)

    def _group_change(self, group: str) -> str:
        number, then = of_group(group), self.facts.then
        return self.change(number(self.facts.last), number(then)) if then else ""

    def _sum(self, text: str, number: Number, change: str, *, group: str = "") -> Row:
        share = Cell(self.share(number, self.facts.last.total))
        cells = [Cell(self.words.text(text)), self.cell(number), Cell(""), share]
        return Row([*cells, Cell(change or NOTHING)], group=group, is_head=True)

    def _code_row(self, code: CodeKey, amount: Amount, top: int) -> Row:
        words = self.words
        system = "9603" if code.area == "patient-safety" else "privacy_type"
        name = words.name(system, code.code.replace("-", "_")) or words.text("code_unknown")
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
        whole = sum(self.facts.causes.values(), Amount())
        rows = [
            Row(
                [
                    Cell(words.name("cause", cause) or cause or words.text("cause_none")),
                    self.cell(amount),
                    Cell(self.share(amount, whole)),
                ]
            )
            for cause, amount in sorted(self.facts.causes.items())
        ]
        head = [words.text(key) for key in ("cause", "restrictions", "share")]
        return Table(words.text("causes_caption"), head, rows) if rows else None

    def ends(self, rows: RowFacts) -> Table | None:
        """When delays end."""
        names = [f"ends_{days}" for days in ENDS] + ["ends_later", "ends_never"]
        return self._by_time("ends", names, rows.ends)

    def ages(self, rows: RowFacts) -> Table | None:
        """How old what is in effect is in PTS."""
        return self._by_time("ages", _AGES, rows.ages)

    def expired(self, rows: RowFacts) -> Table | None:
        """What PTS lists after its end, by how long ago that was."""
        return self._by_time("expired", _AGES, rows.expired)

    def _by_time(self, text: str, names: Sequence[str], amounts: Sequence[Amount]) -> Table | None:
        shown = [
            (self.words.text(name), amount)
            for name, amount in zip(names, amounts, strict=False)
            if amount.restrictions
        ]
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
