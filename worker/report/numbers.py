"""The report's numbers as text; those of few persons are replaced."""

from collections.abc import Sequence
from typing import TypeAlias
from zoneinfo import ZoneInfo

from worker.core.model import RunStatus
from worker.core.small_numbers import OFF, SmallNumbers
from worker.report.charts import LineChart, line
from worker.report.figures import Amount, NightFacts, ReportFacts, RunFacts
from worker.report.language import NOTHING, Language
from worker.report.parts import Cell

NIGHTS_MIN = 7
"""Fewer nights make no trend."""
_CHANGE_MIN = 100
"""A change between smaller numbers would be that of their rounding to five."""

Number: TypeAlias = Amount | int | None
"""Restrictions with the persons who have them, or persons; None: not counted."""


class ReportNumbers:
    """Formats the numbers of one report; base class of its parts."""

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
