"""The first part of the report: the summary sentence, the tiles and the trends.

Counts are rounded, and counts of few persons are replaced by text.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import date
from functools import partial
from zoneinfo import ZoneInfo

from worker.core.display import OFF, ShownCount, SmallNumbers
from worker.core.model import RunStatus
from worker.report.disclosure import ShownFacts, ShownNight
from worker.report.figures import FRESH, GROUPS, ReportFacts, RunFacts, SnapshotState
from worker.report.language import NO_NUMBER, Language
from worker.report.parts import Cell, Chart, LineChart, Row, Table, Tile, line, without_rounding

NIGHTS_MIN = 7
"""Minimum number of nights for a trend."""
_CHANGE_MIN = 100
"""A change is shown above this count. Below it, rounding to five can be several per cent."""
_CHANGE_STEPS_MIN = 2
"""A change of fewer rounding steps may be only rounding."""


class Overview:
    """The texts, tiles and charts of the first part, and the format of all counts."""

    def __init__(
        self, facts: ReportFacts, words: Language, zone: ZoneInfo, small: SmallNumbers
    ) -> None:
        self.facts = facts
        self.words = words
        self.zone = zone
        self.small = small
        self.shown = ShownFacts(facts, small)

    def cell(self, count: ShownCount | None) -> Cell:
        """Format a count as a number, as a range, or as "fewer than" a limit."""
        words = self.words
        if count is None:
            return Cell(NO_NUMBER)
        if count.number is not None:
            return Cell(words.number(count.number))
        if count.is_few:
            limit = count.last + self.small.step if count.last else self.small.least
            return Cell(words.text("small", least=limit), words.text("small_spoken", least=limit))
        first, last = words.number(count.first), words.number(count.last)
        spoken = words.text("range_spoken", first=first, last=last)
        return Cell(words.text("range", first=first, last=last), spoken)

    def prose(self, count: ShownCount | None) -> str:
        """Format a count for a sentence: "fewer than 5" instead of "<5"."""
        cell = self.cell(count)
        return cell.spoken if count and count.is_few else cell.text

    def patients(self, count: ShownCount | None) -> str:
        """Format a number of patients with its noun."""
        return self.words.text("patients", n=grammatical_number(count), amount=self.prose(count))

    def change(self, now: ShownCount, then: ShownCount) -> str:
        """Format the change of a count in per cent. Empty if it may be only rounding."""
        if not self._is_compared(now, then) or self._is_rounding(now, then):
            return ""
        return self.words.change(now.number or 0, then.number or 0)

    def _is_compared(self, now: ShownCount, then: ShownCount) -> bool:
        if now.number is None or not then.number:
            return False
        # Exact numbers are compared at any size.
        return self.small.least == OFF or min(now.number, then.number) >= _CHANGE_MIN

    def _is_rounding(self, now: ShownCount, then: ShownCount) -> bool:
        return abs((now.number or 0) - (then.number or 0)) < self.least_change

    @property
    def least_change(self) -> int:
        """The smallest change that is more than rounding."""
        return 1 if self.small.least == OFF else _CHANGE_STEPS_MIN * self.small.step

    def share(self, part: ShownCount, whole: ShownCount) -> str:
        """Format a part of a whole in per cent, if both are numbers."""
        if part.number is None or not whole.number:
            return NO_NUMBER
        return self.words.percent(min(part.number / whole.number, 1))

    def confirmed(self, night: ShownNight) -> str:
        """Format the confirmed share of the roster: "98%" if it is exact, else "at least 98%"."""
        roster, stale = night.roster, night.stale
        if roster is None or not roster.number or stale is None:
            return ""
        # The lowest share that the shown numbers allow. 99.9 % must not read as 100 %.
        percent, rest = divmod(100 * max(roster.low - stale.high, 0), roster.low)
        text = self.words.percent(percent / 100)
        is_exact = stale.low == stale.high and not rest
        return text if is_exact else self.words.text("at_least", share=text)

    def line(
        self, counts: Callable[[ShownNight], ShownCount], *, from_zero: bool = False
    ) -> LineChart | None:
        """Draw a line over the nights. None if it would show almost nothing."""
        facts = self.facts
        numbers = [counts(night).number for night in self.shown.nights]
        if len(numbers) - numbers.count(None) < max(NIGHTS_MIN, len(numbers) / 2):
            return None
        return line(
            [night.day for night in facts.nights],
            without_rounding(numbers, self.least_change),
            withheld=facts.withheld,
            missed=facts.missed,
            from_zero=from_zero,
            least_step=self.small.step,
        )

    def ending(self, run: RunFacts) -> str:
        """Return the end of a run as text."""
        if run.status == RunStatus.PUBLISHED:
            return self.words.name("exit_code", str(run.exit_code))
        return self.words.text(f"status_{run.status}")

    def sentence(self) -> str:
        """Return the summary: the restrictions in effect, in one sentence."""
        last, words = self.shown.last, self.words
        sentence = words.text(
            "sentence_of" if last.has_rate else "sentence",
            n=grammatical_number(last.total),
            day=words.day(self.facts.last.day),
            amount=self.prose(last.total),
            persons=self.prose(last.persons) if last.has_rate else self.patients(last.persons),
            roster=self.patients(last.roster),
        )
        # With the noun, because the sentence mentions patients as well.
        if change := self.month_comparison(lambda night: night.total, "sentence_then"):
            sentence += f", {change}"
        if share := self.confirmed(last):
            # An old report must not read as if the persons were confirmed today.
            age = self.facts.made_at - self.facts.last.published_at
            is_future = self.facts.state is SnapshotState.FUTURE
            is_fresh = age < FRESH and not is_future and not self.facts.is_cohort_gone
            key = "sentence_confirmed" if is_fresh else "sentence_confirmed_old"
            sentence += words.text(key, share=share)
        return sentence + "."

    def month_comparison(self, count: Callable[[ShownNight], ShownCount], noun: str = "") -> str:
        """Compare a count with that of a month ago, as text. Empty if one of them is small.

        Args:
            noun: the key of a text with the earlier count and its noun. Empty: the count alone.
        """
        month_ago, shown_then = self.facts.then, self.shown.then
        if month_ago is None or shown_then is None:
            return ""
        now, then = count(self.shown.last), count(shown_then)
        if not self._is_compared(now, then):
            return ""
        share = (now.number or 0) / (then.number or 1) - 1
        amount = self.prose(then)
        if noun:
            amount = self.words.text(noun, n=grammatical_number(then), amount=amount)
        key = "month_more" if share > 0 else "month_fewer"
        if self._is_rounding(now, then) or not round(share * 100):
            key = "month_same"
        return self.words.text(
            key,
            change=self.words.percent(abs(share)),
            day=self.words.day(month_ago.day),
            then=amount,
        )

    def state(self) -> Iterator[str]:
        """Yield sentences about the reliability of the figures."""
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
        if facts.state is SnapshotState.GAPS:
            yield from self._gaps(when)
        elif facts.is_cohort_gone:
            when = words.moment(facts.last.published_at, self.zone)
            yield words.text("state_cohort_gone", when=when)
        else:
            yield words.text(f"state_{facts.state}", when=when)
        # A failed run does not change the figures, but a reader must know that it failed.
        latest = facts.latest
        if latest is not None and latest.status != RunStatus.PUBLISHED:
            began = words.moment(latest.started_at, self.zone)
            ending = self.ending(latest)
            yield words.text("state_since", run=latest.run_id, when=began, ending=ending)

    def _gaps(self, when: str) -> Iterator[str]:
        words, stale, run = self.words, self.shown.last.stale, self.facts.last_sync
        if self.facts.last.stale:
            amount = self.patients(stale)
            yield words.text("state_gaps", n=grammatical_number(stale), when=when, stale=amount)
        else:
            yield words.text("state_gaps_unknown", when=when)
        # Without their number, which would narrow a small number of stale persons.
        if run and run.roster_faults:
            yield words.text("state_roster")

    def tiles(self) -> Iterator[Tile]:
        """Yield the four most important figures."""
        words, last = self.words, self.shown.last
        yield self._tile("tile_in_effect", lambda night: night.total)
        rate = self.small.rate(last.persons, last.roster) if last.has_rate and last.roster else None
        per_1000 = [] if rate is None else [words.text("tile_per_1000", rate=words.per_1000(rate))]
        yield self._tile("tile_persons", lambda night: night.persons, per_1000)
        ends = []
        if self.shown.ends is not None:
            soon = self.shown.ends.get("ends_7", self.small.count(0))
            ends = [words.text("tile_ends", n=grammatical_number(soon), amount=self.prose(soon))]
        yield self._tile("tile_delayed", lambda night: night.of("delayed"), ends)
        if share := self.confirmed(last):
            notes = [words.text("tile_stale", amount=self.prose(last.stale))]
            if self.facts.last.missing:
                notes.append(words.text("tile_missing", amount=self.prose(last.missing)))
            yield Tile(Cell(share), words.text("tile_confirmed"), notes, None)

    def _tile(
        self, text: str, count: Callable[[ShownNight], ShownCount], notes: Sequence[str] = ()
    ) -> Tile:
        month = self.month_comparison(count)
        return Tile(
            self.cell(count(self.shown.last)),
            self.words.text(text, n=grammatical_number(count(self.shown.last))),
            [month, *notes] if month else notes,
            # The line of a tile has no axis, so only a common start at 0 can be compared.
            self.line(count, from_zero=True),
        )

    @property
    def groups(self) -> Sequence[str]:
        """The restriction groups of all nights, in order."""
        return [g for g in GROUPS if any(g in night.groups for night in self.facts.nights)]

    def trends(self) -> Iterator[Chart]:
        """Yield a line chart for each group that can be drawn."""
        words, nights = self.words, self.facts.nights
        for group in self.groups:
            count = partial(ShownNight.of, group=group)
            if (group_line := self.line(count)) is None:
                continue
            ticks = [words.number(tick) for tick in group_line.ticks]
            notes = [self.month_comparison(count)]
            # An axis that does not start at 0 exaggerates changes.
            if group_line.ticks[-1]:
                notes.append(words.text("axis", low=ticks[-1]))
            yield Chart(
                title=words.group(group),
                desc=self._desc(count),
                line=group_line,
                ticks=ticks,
                first=words.short_day(nights[0].day),
                last=words.short_day(nights[-1].day),
                group=group,
                amount=self.cell(count(self.shown.last)),
                notes=[note for note in notes if note],
            )

    def undrawn(self) -> str:
        """Return the groups without a line chart, as text."""
        drawn = {chart.group for chart in self.trends()}
        return ", ".join(self.words.group(group) for group in self.groups if group not in drawn)

    def _desc(self, count: Callable[[ShownNight], ShownCount]) -> str:
        counts, nights = list(map(count, self.shown.nights)), self.facts.nights
        # Ranges such as "5 to 10" are sorted by their ends.
        ranked = sorted(counts, key=lambda shown: (shown.first, shown.last, shown.is_few))
        ends = map(self.cell, (counts[0], counts[-1], ranked[0], ranked[-1]))
        first, last, lowest, highest = (cell.spoken or cell.text for cell in ends)
        return self.words.text(
            "trend_desc",
            start=self.words.full_day(nights[0].day),
            end=self.words.full_day(nights[-1].day),
            first=first,
            last=last,
            lowest=lowest,
            highest=highest,
        )

    def days(self, days: Sequence[date]) -> str:
        """Return days as text."""
        return ", ".join(map(self.words.day, days))

    def trend_table(self) -> Table:
        """Return the trends as a table of numbers, the newest day first."""
        words, groups = self.words, self.groups
        rows = []
        for night, counts in zip(self.facts.nights, self.shown.nights, strict=True):
            cells = map(self.cell, (counts.total, *map(counts.of, groups)))
            rows.append(Row([Cell(words.full_day(night.day)), *cells]))
        titles = map(words.group, groups)
        return Table(
            words.text("trend_table"),
            [words.text("date"), words.text("total"), *titles],
            rows[::-1],
        )


def grammatical_number(count: ShownCount | None) -> int:
    """Return 1 for the singular, 2 for the plural, as of a range or a hidden count."""
    return 1 if count and count.number == 1 else 2
