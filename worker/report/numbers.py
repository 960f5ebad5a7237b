"""The report's numbers as text; hidden numbers are replaced."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

from worker.core.model import RunStatus
from worker.core.small_numbers import Mark
from worker.report.charts import LineChart, line
from worker.report.disclosure import VisibleNumbers
from worker.report.figures import NightFacts, ReportFacts, RunFacts
from worker.report.language import NOTHING, Language
from worker.report.parts import Cell

NIGHTS_MIN = 7
"""Fewer nights make no trend."""


class ReportNumbers:
    """Formats the numbers of one report; base class of its parts."""

    def __init__(self, facts: ReportFacts, words: Language, zone: ZoneInfo, *, least: int) -> None:
        self.facts = facts
        self.words = words
        self.zone = zone
        self.shown = VisibleNumbers(facts, least=least)

    def cell(self, key: Any) -> Cell:
        """A number, or the text that replaces a hidden one."""
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

    def change(self, key: Any) -> str:
        """The change of a number over the last month, if both numbers are shown."""
        if self.facts.then is None:
            return ""
        now = self.shown.value(key(self.facts.last.publication_no))
        then = self.shown.value(key(self.facts.then.publication_no))
        return "" if now is None or then is None else self.words.change(now, then)

    def confirmed(self, night: NightFacts) -> str:
        """The confirmed share; if it is hidden, its lower bound."""
        share = self.confirmed_share(night)
        if share is None:
            return ""
        text = self.words.percent_down(share)
        is_hidden = ("confirmed", night.publication_no) in self.shown.marks
        return self.words.text("at_least", share=text) if is_hidden else text

    def confirmed_share(self, night: NightFacts) -> float | None:
        """The confirmed share as a number; None if it is unknown."""
        number = night.publication_no
        roster = self.shown.value(("roster", number))
        if not roster:
            return None
        confirmed = self.shown.value(("confirmed", number))
        if confirmed is None and self.shown.marks.get(("stale", number)) is not Mark.SMALL:
            return None
        return (max(roster - self.shown.least + 1, 0) if confirmed is None else confirmed) / roster

    def nights(self, days: int = 0) -> Sequence[NightFacts]:
        """The nights of the last days; all of them for 0."""
        if not days:
            return self.facts.nights
        begin = self.facts.last.day - timedelta(days=days - 1)
        return [night for night in self.facts.nights if night.day >= begin]

    def line(
        self, values: Sequence[float | None], *, least_step: float = 1, days: int = 0
    ) -> LineChart | None:
        """A line over the nights, if there are at least ``NIGHTS_MIN``."""
        nights = self.nights(days)
        if len(nights) < NIGHTS_MIN:
            return None
        shown = [night.day for night in nights]
        withheld = [day for day in self.facts.withheld if day >= shown[0]]
        missed = [day for day in self.facts.missed if day >= shown[0]]
        return line(shown, values, withheld=withheld, missed=missed, least_step=least_step)

    def ending(self, run: RunFacts) -> str:
        """How a run ended, in words."""
        if run.status == RunStatus.PUBLISHED:
            return self.words.name("exit_code", str(run.exit_code))
        return self.words.text(f"status_{run.status}")
