"""The report's parts as the template shows them: texts, and numbers that may be hidden."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from worker.core.model import RunKind, RunStatus
from worker.core.small_numbers import Mark
from worker.report.charts import Line, line
from worker.report.disclosure import INDEFINITE, LATER, NONE, NOT_NOW, OPEN, Shown
from worker.report.figures import GROUPS, CodeKey, NightFacts, ReportFacts, RunFacts, SnapshotState
from worker.report.language import NOTHING, Language

NIGHTS_MIN = 7
"""Fewer nights make no trend."""
_SPARK_DAYS = 31
COHORTS_SHOWN = 16
"""What a page of paper holds."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What a table shows in a place.

    Attributes:
        spoken: instead of ``text``, for a screen reader.
        small: smaller text below it.
        bar: the length of a bar, in per cent.
        heat: how much it is beside the others, from 0 to 5.
    """

    text: str
    spoken: str = ""
    small: str = ""
    bar: float | None = None
    heat: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table, or with ``is_head`` the head of those below it."""

    cells: Sequence[Cell]
    group: str = ""
    is_head: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table; its first ``text`` columns hold text, the others numbers."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Row]
    text: int = 1


@dataclass(frozen=True, slots=True)
class Tile:
    """A number that matters, with a line of the last month."""

    amount: Cell
    words: str
    notes: Sequence[str]
    spark: Line | None


@dataclass(frozen=True, slots=True)
class Chart:
    """A line with its words."""

    title: str
    desc: str
    line: Line
    ticks: Sequence[str]
    first: str
    last: str
    group: str = ""
    amount: Cell | None = None
    notes: Sequence[str] = ()


class Page:
    """All parts of one report."""

    def __init__(self, facts: ReportFacts, words: Language, zone: ZoneInfo, *, least: int) -> None:
        self.facts = facts
        self.words = words
        self.zone = zone
        self.shown = Shown(facts, least=least)

    def cell(self, key: Any) -> Cell:
        """A number, or what stands in its place."""
        match self.shown.marks.get(key):
            case Mark.SMALL:
                least = self.shown.least
                small = self.words.text("small", least=least)
                return Cell(small, self.words.text("small_spoken", least=least))
            case Mark.HIDDEN:
                return Cell(self.words.text("hidden"), self.words.text("hidden_spoken"))
            case None:
                pass
        found = self.shown.cells.get(key)
        return Cell(NOTHING) if found is None else Cell(self.words.number(found.value))

    def sentence(self) -> str:
        """What stands, in one sentence."""
        last, words = self.facts.last, self.words
        number = last.publication_no
        key = "sentence" if last.roster is None else "sentence_of"
        said = words.text(
            key,
            n=last.in_effect,
            day=words.day(last.day),
            amount=self.cell(("total", number)).text,
            persons=self.cell(("persons", number)).text,
            roster=self.cell(("roster", number)).text,
        )
        if change := self._change(lambda night: ("total", night)):
            said += words.text("sentence_change", change=change)
        if share := self._confirmed(last):
            is_fresh = self.facts.made_at - last.published_at < timedelta(hours=26)
            key = "sentence_confirmed" if is_fresh else "sentence_confirmed_old"
            said += words.text(key, share=share)
        return said + "."

    def state(self) -> Iterator[str]:
        """How far the figures can be relied upon."""
        words, facts = self.words, self.facts
        run = facts.last_sync if facts.state is SnapshotState.OLD else facts.published
        if run is None or run.published_at is None:
            yield words.text("state_empty")
            return
        when = words.moment(run.published_at, self.zone)
        stale = facts.last.stale
        if facts.state is SnapshotState.GAPS and stale:
            amount = self.cell(("stale", facts.last.publication_no)).text
            yield words.text("state_gaps", when=when, stale=amount)
        elif facts.state is SnapshotState.GAPS:
            yield words.text("state_gaps_unknown", when=when)
        else:
            yield words.text(f"state_{facts.state}", when=when)
        latest = facts.runs[0] if facts.runs else None
        if latest is not None and latest.status != RunStatus.PUBLISHED:
            yield words.text("state_since", run=latest.run_id, ending=self._ending(latest))

    def _change(self, key: Any) -> str:
        """The change of a number since a month ago, if both are shown."""
        if self.facts.then is None:
            return ""
        now = self.shown.value(key(self.facts.last.publication_no))
        then = self.shown.value(key(self.facts.then.publication_no))
        return "" if now is None or then is None else self.words.change(now, then)

    def _confirmed(self, night: NightFacts) -> str:
        """The share that is confirmed; where that is hidden what it is at least."""
        share = self._confirmed_share(night)
        if share is None:
            return ""
        said = self.words.percent_down(share)
        is_hidden = ("confirmed", night.publication_no) in self.shown.marks
        return self.words.text("at_least", share=said) if is_hidden else said

    def _confirmed_share(self, night: NightFacts) -> float | None:
        number = night.publication_no
        roster = self.shown.value(("roster", number))
        if not roster:
            return None
        confirmed = self.shown.value(("confirmed", number))
        if confirmed is None and self.shown.marks.get(("stale", number)) is not Mark.SMALL:
            return None
        return (max(roster - self.shown.least + 1, 0) if confirmed is None else confirmed) / roster

    def tiles(self) -> Iterator[Tile]:
        """The four figures that matter most."""
        words, last, number = self.words, self.facts.last, self.facts.last.publication_no
        yield self._tile("tile_in_effect", lambda night: ("total", night))
        persons, roster = (
            self.shown.value(("persons", number)),
            self.shown.value(("roster", number)),
        )
        rate = []
        if persons is not None and roster:
            rate = [words.text("tile_per_1000", rate=words.number(persons / roster * 1000))]
        yield self._tile("tile_persons", lambda night: ("persons", night), rate)
        ends = [words.text("tile_ends", amount=self.cell(("week", 0)).text)]
        yield self._tile("tile_delayed", lambda night: ("group", night, "delayed"), ends)
        if share := self._confirmed(last):
            shares = [self._confirmed_share(night) for night in self._nights(_SPARK_DAYS)]
            yield Tile(
                Cell(share),
                words.text("tile_confirmed"),
                [words.text("tile_stale", amount=self.cell(("stale", number)).text)],
                self._line(shares, least_step=0.0001, days=_SPARK_DAYS),
            )

    def _tile(self, text: str, key: Any, notes: Sequence[str] = ()) -> Tile:
        change = self._change(key)
        month = (
            self.words.text("tile_change", change=change)
            if change
            else self.words.text("tile_no_change")
        )
        nights = self._nights(_SPARK_DAYS)
        values = [self.shown.value(key(night.publication_no)) for night in nights]
        return Tile(
            self.cell(key(self.facts.last.publication_no)),
            self.words.text(text),
            [month, *notes],
            self._line(values, days=_SPARK_DAYS),
        )

    def _nights(self, days: int = 0) -> Sequence[NightFacts]:
        if not days:
            return self.facts.nights
        begin = self.facts.last.day - timedelta(days=days - 1)
        return [night for night in self.facts.nights if night.day >= begin]

    def _line(
        self, values: Sequence[float | None], *, least_step: float = 1, days: int = 0
    ) -> Line | None:
        """A line over the nights, if they are enough."""
        nights = self._nights(days)
        if len(nights) < NIGHTS_MIN:
            return None
        shown = [night.day for night in nights]
        withheld = [day for day in self.facts.withheld if day >= shown[0]]
        return line(shown, values, withheld=withheld, least_step=least_step)

    @property
    def groups(self) -> Sequence[str]:
        """The groups that any night has, in their order."""
        return [g for g in GROUPS if any(g in night.groups for night in self.facts.nights)]

    def trends(self) -> Iterator[Chart]:
        """A line for each group."""
        nights, words = self.facts.nights, self.words
        for group in self.groups:
            values = [
                self.shown.value(("group", night.publication_no, group))
                if group in night.groups
                else 0
                for night in nights
            ]
            drawn = self._line(values)
            if drawn is None:
                continue
            key = ("group", self.facts.last.publication_no, group)
            change = self._change(lambda night, group=group: ("group", night, group))
            yield Chart(
                title=words.text(f"group_{group}"),
                desc=self._desc(
                    "trend_desc", [v if v is None else words.number(v) for v in values]
                ),
                line=drawn,
                ticks=[words.number(tick) for tick in drawn.ticks],
                first=words.short_day(nights[0].day),
                last=words.short_day(nights[-1].day),
                group=group,
                amount=self.cell(key) if key in self.shown.cells else Cell("0"),
                notes=[words.text("tile_change", change=change)] if change else [],
            )

    def _desc(self, key: str, values: Sequence[str | None]) -> str:
        hidden, nights = self.words.text("hidden_spoken"), self.facts.nights
        return self.words.text(
            key,
            first=values[0] or hidden,
            last=values[-1] or hidden,
            start=self.words.full_day(nights[0].day),
            end=self.words.full_day(nights[-1].day),
        )

    def withheld_days(self) -> str:
        """The days on which a run was withheld, as text; empty for none."""
        return ", ".join(map(self.words.day, self.facts.withheld))

    def trend_table(self) -> Table:
        """The same in numbers, the newest day first."""
        words, groups = self.words, self.groups
        rows: dict[date, Row] = {
            day: Row(
                [Cell(words.full_day(day), small=words.text("withheld"))]
                + [Cell(NOTHING)] * (len(groups) + 1)
            )
            for day in self.facts.withheld
        }
        for night in self.facts.nights:
            number = night.publication_no
            cells = [
                self.cell(("group", number, group)) if group in night.groups else Cell("0")
                for group in groups
            ]
            rows[night.day] = Row(
                [Cell(words.full_day(night.day)), self.cell(("total", number)), *cells]
            )
        titles = [words.text(f"group_{group}") for group in groups]
        return Table(
            words.text("trend_table"),
            [words.text("date"), words.text("total"), *titles],
            [rows[day] for day in sorted(rows, reverse=True)],
        )

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
                (key for key in keys if key.group == group), key=lambda key: (-keys[key], key.code)
            )
            if inside:
                rows.append(self._group_row(group))
                rows += [self._code_row(key, top) for key in inside]
        rows.append(
            Row(
                [
                    Cell(words.text("total")),
                    self.cell(("total", number)),
                    Cell(""),
                    Cell(words.percent(1)),
                    Cell(self._change(lambda night: ("total", night)) or NOTHING),
                ],
                is_head=True,
            )
        )
        head = [words.text(key) for key in ("code", "in_effect", "share", "change")]
        return Table(words.text("codes_caption"), [*head[:2], "", *head[2:]], rows)

    def _group_row(self, group: str) -> Row:
        words, key = self.words, ("group", self.facts.last.publication_no, group)
        change = self._change(lambda night: ("group", night, group))
        return Row(
            [
                Cell(words.text(f"group_{group}")),
                self.cell(key),
                Cell(""),
                self._share(key),
                Cell(change or NOTHING),
            ],
            group=group,
            is_head=True,
        )

    def _share(self, key: Any) -> Cell:
        part = self.shown.value(key)
        total = self.shown.value(("total", self.facts.last.publication_no))
        return Cell(NOTHING if part is None or not total else self.words.percent(part / total, 1))

    def _code_row(self, code: CodeKey, top: int) -> Row:
        words = self.words
        key = ("code", self.facts.last.publication_no, code)
        value = self.shown.value(key)
        change = self._change(lambda night: ("code", night, code))
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
        """From all rows to those in effect."""
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
        """When delays end, week by week."""
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
        """Persons by cohort, the highest rate first and those that are hidden last."""
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
        """How long restrictions stood, where they are of enough persons."""
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

    def freshness(self) -> Chart | None:
        """The share that is confirmed, over time."""
        nights, words = self.facts.nights, self.words
        shares = [self._confirmed_share(night) for night in nights]
        drawn = self._line(shares, least_step=0.0001)
        if drawn is None:
            return None
        said = [None if share is None else words.percent_down(share) for share in shares]
        ticks = [words.percent(tick, 1) if tick <= 1 else "" for tick in drawn.ticks]
        return Chart(
            title=words.text("freshness_chart"),
            desc=self._desc("freshness_desc", said),
            line=drawn,
            ticks=ticks,
            first=words.short_day(nights[0].day),
            last=words.short_day(nights[-1].day),
            group="confirmed",
        )

    def freshness_table(self) -> Table:
        """The same in numbers, the newest day first."""
        words, rows = self.words, []
        for night in reversed(self.facts.nights):
            cells = [
                self.cell((name, night.publication_no)) for name in ("roster", "confirmed", "stale")
            ]
            share = Cell(self._confirmed(night) or NOTHING)
            rows.append(Row([Cell(words.full_day(night.day)), *cells, share]))
        head = [words.text(key) for key in ("date", "roster", "confirmed", "stale", "share")]
        return Table(words.text("freshness_table"), head, rows)

    def failures(self) -> Table | None:
        """Why persons could not be read."""
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
                    Cell(self._ending(run)),
                    Cell(words.lasted(run.duration_s)),
                    Cell(words.number(run.persons_total)),
                    Cell(words.number(run.requests)),
                ]
            )
            for run in self.facts.runs
        ]
        keys = ("run", "started", "ending", "took", "persons", "requests")
        return Table(words.text("annex_caption"), [words.text(key) for key in keys], rows, text=3)

    def _ending(self, run: RunFacts) -> str:
        if run.status == RunStatus.PUBLISHED:
            return self.words.name("exit_code", str(run.exit_code))
        return self.words.text(f"status_{run.status}")
