"""The first part of the report: the summary sentence, the tiles and the trends."""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial

from worker.core.model import RunStatus
from worker.report.charts import LineChart
from worker.report.figures import GROUPS, Amount, NightFacts, SnapshotState
from worker.report.numbers import Number, ReportNumbers
from worker.report.parts import Cell, Chart, Row, Table, Tile

_A_DAY = timedelta(hours=26)
"""A day, and slack for a run that took longer."""


class Overview(ReportNumbers):
    """The texts, tiles and charts of the first part."""

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
            is_fresh = self.facts.state is not SnapshotState.FUTURE and age < _A_DAY
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
