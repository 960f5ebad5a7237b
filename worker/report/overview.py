"""The first part of the report: the summary sentence, the tiles and the trends."""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Any

from worker.core.model import RunStatus
from worker.report.figures import GROUPS, SnapshotState
from worker.report.language import NOTHING
from worker.report.numbers import ReportNumbers
from worker.report.parts import Cell, Chart, Row, Table, Tile

_SPARK_DAYS = 31
_A_DAY = timedelta(hours=26)
"""A day, and slack for a run that took longer."""


class Overview(ReportNumbers):
    """The texts, tiles and charts of the first part."""

    def sentence(self) -> str:
        """The restrictions in effect, in one sentence."""
        last, words = self.facts.last, self.words
        number = last.publication_no
        key = "sentence" if last.roster is None else "sentence_of"
        sentence = words.text(
            key,
            n=last.in_effect,
            day=words.day(last.day),
            amount=self.cell(("total", number)).text,
            persons=self.cell(("persons", number)).text,
            roster=self.cell(("roster", number)).text,
        )
        if change := self.change(lambda night: ("total", night)):
            sentence += words.text("sentence_change", change=change)
        if share := self.confirmed(last):
            age = self.facts.made_at - last.published_at
            is_fresh = self.facts.state is not SnapshotState.FUTURE and age < _A_DAY
            key = "sentence_confirmed" if is_fresh else "sentence_confirmed_old"
            sentence += words.text(key, share=share)
        return sentence + "."

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
        stale = facts.last.stale
        if facts.state is SnapshotState.GAPS and stale:
            amount = self.cell(("stale", facts.last.publication_no)).text
            yield words.text("state_gaps", when=when, stale=amount)
        elif facts.state is SnapshotState.GAPS:
            yield words.text("state_gaps_unknown", when=when)
        else:
            yield words.text(f"state_{facts.state}", when=when)
        # An abandoned run read nothing, or a newer one took its place.
        latest = next((run for run in facts.runs if run.status != RunStatus.ABANDONED), None)
        if latest is not None and latest.status != RunStatus.PUBLISHED:
            yield words.text("state_since", run=latest.run_id, ending=self.ending(latest))

    def tiles(self) -> Iterator[Tile]:
        """The four most important figures."""
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
        ends = []
        if not self.facts.is_altered:
            ends = [words.text("tile_ends", amount=self.cell(("week", 0)).text)]
        yield self._tile("tile_delayed", lambda night: ("group", night, "delayed"), ends)
        if share := self.confirmed(last):
            shares = [self.confirmed_share(night) for night in self.nights(_SPARK_DAYS)]
            yield Tile(
                Cell(share),
                words.text("tile_confirmed"),
                [words.text("tile_stale", amount=self.cell(("stale", number)).text)],
                self.line(shares, least_step=0.0001, days=_SPARK_DAYS),
            )

    def _tile(self, text: str, key: Any, notes: Sequence[str] = ()) -> Tile:
        change = self.change(key)
        month = (
            self.words.text("tile_change", change=change)
            if change
            else self.words.text("tile_no_change")
        )
        nights = self.nights(_SPARK_DAYS)
        values = [self.shown.value(key(night.publication_no)) for night in nights]
        return Tile(
            self.cell(key(self.facts.last.publication_no)),
            self.words.text(text),
            [month, *notes],
            self.line(values, days=_SPARK_DAYS),
        )

    @property
    def groups(self) -> Sequence[str]:
        """The restriction groups of all nights, in order."""
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
            drawn = self.line(values)
            if drawn is None:
                continue
            key = ("group", self.facts.last.publication_no, group)
            change = self.change(lambda night, group=group: ("group", night, group))
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

    def missed_days(self) -> str:
        """The days on which no run published or was withheld, as text; empty for none."""
        spans: list[list[date]] = []
        for day in self.facts.missed:
            if spans and day - spans[-1][-1] == timedelta(days=1):
                spans[-1].append(day)
            else:
                spans.append([day])
        ends = (span if len(span) == 1 else (span[0], span[-1]) for span in spans)
        return ", ".join("\N{EN DASH}".join(map(self.words.day, span)) for span in ends)

    def trend_table(self) -> Table:
        """The same in numbers, the newest day first."""
        words, groups = self.words, self.groups
        rows: dict[date, Row] = {
            day: Row(
                [Cell(words.full_day(day), small=words.text(why))]
                + [Cell(NOTHING)] * (len(groups) + 1)
            )
            for why, days in (("withheld", self.facts.withheld), ("missed", self.facts.missed))
            for day in days
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

    def freshness(self) -> Chart | None:
        """The share that is confirmed, over time."""
        nights, words = self.facts.nights, self.words
        shares = [self.confirmed_share(night) for night in nights]
        drawn = self.line(shares, least_step=0.0001)
        if drawn is None:
            return None
        percents = [self.confirmed(night) for night in nights]
        ticks = [words.percent(tick, 1) if tick <= 1 else "" for tick in drawn.ticks]
        return Chart(
            title=words.text("freshness_chart"),
            desc=self._desc("freshness_desc", percents),
            line=drawn,
            ticks=ticks,
            first=words.short_day(nights[0].day),
            last=words.short_day(nights[-1].day),
            group="confirmed",
        )
