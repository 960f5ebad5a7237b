"""The first part of the report: the summary sentence, the tiles and the trends.

Its numbers are shown as text, and those of few persons are replaced.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeAlias
from zoneinfo import ZoneInfo

from worker.core.display import OFF, SmallNumbers
from worker.core.model import RunStatus
from worker.report.figures import (
    FRESH,
    GROUPS,
    Amount,
    NightFacts,
    ReportFacts,
    RunFacts,
    SnapshotState,
)
from worker.report.language import NOTHING, Language
from worker.report.parts import Cell, Chart, LineChart, Row, Table, Tile, line

NIGHTS_MIN = 7
"""Fewer nights make no trend."""
_CHANGE_MIN = 100
"""A change between smaller numbers would only show their rounding to five."""

Number: TypeAlias = Amount | int | None
"""Restrictions with the persons who have them, or persons; None: not counted."""


class Overview:
    """The texts, tiles and charts of the first part, and how the numbers of a report are shown."""

    def __init__(
        self, facts: ReportFacts, words: Language, zone: ZoneInfo, small: SmallNumbers
    ) -> None:
        self.facts = facts
        self.words = words
        self.zone = zone
        self.small = small

    def shown(self, number: Number) -> int | None:
        """The number as it is shown; None if it is of few persons, or was not counted."""
        if isinstance(number, Amount):
            return self.small.shown(number.restrictions, number.persons)
        return None if number is None else self.small.shown(number)

    def cell(self, number: Number) -> Cell:
        """A number, or what stands for one of few persons."""
        if number is None:
            return Cell(NOTHING)
        shown = self.shown(number)
        if shown is not None:
            return Cell(self.words.number(shown))
        least = self.small.least
        return Cell(
            self.words.text("small", least=least), self.words.text("small_spoken", least=least)
        )

    def change(self, now: Number, then: Number) -> str:
        """From one number to another in per cent, if both are shown, and large enough for it."""
        first, last = self.shown(then), self.shown(now)
        if self.facts.then is None or first is None or last is None:
            return ""
        if self.small.least != OFF and min(first, last) < _CHANGE_MIN:
            return ""
        return self.words.change(last, first)

    def share(self, part: Number, whole: Number) -> str:
        """A part of a whole in per cent, if both are shown."""
        some, every = self.shown(part), self.shown(whole)
        return NOTHING if some is None or not every else self.words.percent(min(some / every, 1))

    def confirmed(self, night: NightFacts) -> str:
        """The share of the roster that is confirmed; where few are not, a bound of it."""
        roster, stale = self.shown(night.roster), self.shown(night.stale)
        if not roster or night.stale is None:
            return ""
        missing = self.small.least - 1 if stale is None else stale
        text = self.words.percent_down(max(roster - missing, 0) / roster)
        return self.words.text("at_least", share=text) if stale is None else text

    def line(self, values: Sequence[float | None], *, from_zero: bool = False) -> LineChart | None:
        """A line over the nights, if there are at least ``NIGHTS_MIN``."""
        facts = self.facts
        if len(facts.nights) < NIGHTS_MIN:
            return None
        return line(
            [night.day for night in facts.nights],
            values,
            withheld=facts.withheld,
            missed=facts.missed,
            from_zero=from_zero,
            least_step=self.small.step,
        )

    def ending(self, run: RunFacts) -> str:
        """How a run ended, in words."""
        if run.status == RunStatus.PUBLISHED:
            return self.words.name("exit_code", str(run.exit_code))
        return self.words.text(f"status_{run.status}")

    def sentence(self) -> str:
        """The restrictions in effect, in one sentence."""
        last, words = self.facts.last, self.words
        sentence = words.text(
            "sentence" if last.roster is None else "sentence_of",
            n=last.total.restrictions,
            day=words.day(last.day),
            amount=self.cell(last.total).text,
            persons=self.cell(last.persons).text,
            roster=self.cell(last.roster).text,
        )
        if change := self.month(lambda night: night.total):
            sentence += f", {change}"
        if share := self.confirmed(last):
            age = self.facts.made_at - last.published_at
            is_fresh = self.facts.state is not SnapshotState.FUTURE and age < FRESH
            key = "sentence_confirmed" if is_fresh else "sentence_confirmed_old"
            sentence += words.text(key, share=share)
        return sentence + "."

    def month(self, number: Callable[[NightFacts], Number]) -> str:
        """The change of a number over the last month in words; empty if it is not known."""
        if self.facts.then is None:
            return ""
        now, then = number(self.facts.last), number(self.facts.then)
        change = self.change(now, then)
        if change and self.shown(now) == self.shown(then):
            return self.words.text("month_unchanged")
        return self.words.text("month_change", change=change) if change else ""

    def state(self) -> Iterator[str]:
        """How reliable the figures are."""
        words, facts = self.words, self.facts
        run = facts.last_sync if facts.state is SnapshotState.OLD else facts.published
        if run is None or run.published_at is None:
            yield words.text("state_empty")
            return
        when = words.moment(run.published_at, self.zone)
        if facts.state is SnapshotState.FUTURE:
            yield words.text("state_future", when=words.moment(facts.last.published_at, self.zone))
            if run.finished_at is not None:
                yield words.text("state_ended", when=words.moment(run.finished_at, self.zone))
            return
        if facts.state is SnapshotState.GAPS and facts.last.stale:
            amount = self.cell(facts.last.stale).text
            yield words.text("state_gaps", when=when, stale=amount)
        elif facts.state is SnapshotState.GAPS:
            yield words.text("state_gaps_unknown", when=when)
        else:
            yield words.text(f"state_{facts.state}", when=when)
        latest = facts.latest  # an abandoned run read nothing, or a newer one took its place
        if latest is not None and latest.status != RunStatus.PUBLISHED:
            yield words.text("state_since", run=latest.run_id, ending=self.ending(latest))

    def tiles(self) -> Iterator[Tile]:
        """The four most important figures."""
        words, last = self.words, self.facts.last
        yield self._tile("tile_in_effect", lambda night: night.total)
        persons, roster = self.shown(last.persons), self.shown(last.roster)
        rate = []
        if persons is not None and roster:
            rate = [words.text("tile_per_1000", rate=words.number(persons / roster * 1000))]
        yield self._tile("tile_persons", lambda night: night.persons, rate)
        soon = self.cell(self.facts.ends.get("ends_7", Amount())).text
        ends = [words.text("tile_ends", amount=soon)]
        yield self._tile("tile_delayed", lambda night: night.of("delayed"), ends)
        if share := self.confirmed(last):
            yield Tile(
                Cell(share),
                words.text("tile_confirmed"),
                [words.text("tile_stale", amount=self.cell(last.stale).text)],
                None,
            )

    def _tile(
        self, text: str, number: Callable[[NightFacts], Number], notes: Sequence[str] = ()
    ) -> Tile:
        month = self.month(number) or self.words.text("month_unknown")
        values = [self.shown(number(night)) for night in self.facts.nights]
        amount = self.cell(number(self.facts.last))
        return Tile(
            amount, self.words.text(text), [month, *notes], self.line(values, from_zero=True)
        )

    @property
    def groups(self) -> Sequence[str]:
        """The restriction groups of all nights, in order."""
        return [g for g in GROUPS if any(g in night.groups for night in self.facts.nights)]

    def trends(self) -> Iterator[Chart]:
        """A line for each group."""
        words = self.words
        for group in self.groups:
            number = partial(NightFacts.of, group=group)
            values = [self.shown(number(night)) for night in self.facts.nights]
            drawn = self.line(values)
            if drawn is None:
                continue
            shown = [None if value is None else words.number(value) for value in values]
            month = self.month(number)
            yield self._chart(
                words.group(group),
                drawn,
                self._desc("trend_desc", shown),
                ticks=[words.number(tick) for tick in drawn.ticks],
                group=group,
                amount=self.cell(number(self.facts.last)),
                notes=[month] if month else [],
            )

    def _chart(
        self,
        title: str,
        drawn: LineChart,
        desc: str,
        *,
        ticks: Sequence[str],
        group: str,
        amount: Cell | None = None,
        notes: Sequence[str] = (),
    ) -> Chart:
        """A chart; where its axis does not begin at 0, it says so."""
        nights, words = self.facts.nights, self.words
        low = [words.text("axis", low=ticks[-1])] if drawn.ticks[-1] else []
        return Chart(
            title=title,
            desc=desc,
            line=drawn,
            ticks=ticks,
            first=words.short_day(nights[0].day),
            last=words.short_day(nights[-1].day),
            group=group,
            amount=amount,
            notes=[*notes, *low],
        )

    def _desc(self, key: str, values: Sequence[str | None]) -> str:
        hidden = self.words.text("small_spoken", least=self.small.least)
        nights = self.facts.nights
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

    def missed_days(self) -> str:
        """The days on which no run published or was withheld, as text; empty for none."""
        return ", ".join(map(self.words.day, self.facts.missed))

    def trend_table(self) -> Table:
        """The same in numbers, the newest day first."""
        words, groups = self.words, self.groups
        rows = []
        for night in reversed(self.facts.nights):
            cells = [self.cell(night.of(group)) for group in groups]
            rows.append(Row([Cell(words.full_day(night.day)), self.cell(night.total), *cells]))
        titles = map(words.group, groups)
        return Table(
            words.text("trend_table"),
            [words.text("date"), words.text("total"), *titles],
            rows,
        )
