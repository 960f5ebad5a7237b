"""The parts of the report that count restrictions: by area and code, and over time."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Final

from worker.report.charts import Chart, areas, bars, columns
from worker.report.figures import CodeCount, DayFacts, ReportFacts
from worker.report.tables import Cell, Table
from worker.report.words import (
    DELAYED,
    DENIED,
    OTHER,
    area_title,
    group_of,
    meaning_of,
    number,
    short,
)

_BARS_MAX: Final = 15
_RECENT_DAYS: Final = 10
_GROUPS: Final = {
    DELAYED: "Delayed: shown later",
    DENIED: "Denied: not shown",
    OTHER: "Other codes",
}


def effect_table(facts: ReportFacts) -> Table:
    """From all that PTS lists to what is in effect."""
    rows = [
        ("listed by PTS", *(number(area.open) for area in facts.areas)),
        (
            "less: the code restricts nothing",
            *(number(area.restricting_nothing) for area in facts.areas),
        ),
        ("less: the time is over", *(number(area.ended) for area in facts.areas)),
        ("less: not begun yet", *(number(area.not_begun) for area in facts.areas)),
        ("in effect", *(number(area.restrictions) for area in facts.areas)),
    ]
    head = ("", *(area_title(area.name) for area in facts.areas))
    return Table("From what is listed to what is in effect", head, rows)


def safety_chart(facts: ReportFacts) -> Chart:
    """Patient safety restrictions in effect, by code."""
    shown = facts.safety[:_BARS_MAX]
    groups = {
        group: [count.restrictions if group_of(count.code) == group else None for count in shown]
        for group in _GROUPS
    }
    return bars(
        "Patient safety restrictions by code",
        "Restrictions in effect for each confidentiality code: delayed, denied or other.",
        [short(count.code) for count in shown],
        groups,
        colours=(0, 1, 3),
    )


def safety_table(facts: ReportFacts) -> Table:
    """The same in numbers, with what each code says."""
    rows = [
        (
            Cell(short(count.code), meaning_of(count.code)),
            number(count.restrictions),
            number(count.stale),
        )
        for count in facts.safety
    ]
    return Table("By code", ("Code", "In effect", "Stale"), rows)


def group_table(facts: ReportFacts) -> Table:
    """Patient safety restrictions in effect, by what a code does."""
    groups: Counter[str] = Counter()
    for count in facts.safety:
        groups[group_of(count.code)] += count.restrictions
    rows = [(words, number(groups[group])) for group, words in _GROUPS.items()]
    return Table("Delayed, denied, other", ("", "In effect"), rows)


def delay_table(facts: ReportFacts) -> Table:
    """When delays end."""
    delays = facts.delays
    rows = [
        ("within 7 days", number(delays.within_7_days)),
        ("within 30 days, those included", number(delays.within_30_days)),
        ("later", number(delays.later)),
        ("never (indefinite)", number(delays.indefinite)),
        ("already over by the clock", number(delays.over)),
    ]
    return Table("When a set time ends", ("Ends", "Open"), rows)


def privacy_chart(facts: ReportFacts) -> Chart:
    """Patient privacy restrictions in effect, by type and level."""
    shown = facts.privacy[:_BARS_MAX]
    return bars(
        "Patient privacy restrictions by type and level",
        "Restrictions in effect for each type (shield or block) and level (soft or hard).",
        [_type_and_level(count) for count in shown],
        {"in effect": [count.restrictions for count in shown]},
        colours=(5,),
    )


def privacy_table(facts: ReportFacts) -> Table:
    """The same in numbers."""
    rows = [
        (short(count.code), short(count.level), number(count.restrictions), number(count.stale))
        for count in facts.privacy
    ]
    return Table("By type and level", ("Type", "Level", "In effect", "Stale"), rows, text=2)


def _type_and_level(count: CodeCount) -> str:
    return f"{short(count.code)}, {short(count.level)}"


class Days:
    """What stood open and what came, changed and went, day by day.

    Attributes:
        days: from the first to the last.
        first_reading: restrictions that the first publication added.
        has_earlier: there are days that ``recent_table`` leaves out.
    """

    def __init__(self, facts: ReportFacts) -> None:
        self._facts = facts
        self._areas = list(dict.fromkeys(day.area for day in facts.days))
        self.days: list[date] = list(dict.fromkeys(day.day for day in facts.days))
        self._labels = [f"{day.day} {day:%b}" for day in self.days]
        self._sums = {
            day: _sum(found for found in facts.days if found.day == day) for day in self.days
        }
        self.first_reading = self._sums[facts.first_day][0] if facts.first_day in self._sums else 0
        self.has_earlier = len(self.days) > _RECENT_DAYS

    def open_chart(self) -> Chart:
        """What stood open at the end of each day."""
        series = {
            area_title(area): [day.open_after for day in self._facts.days if day.area == area]
            for area in self._areas
        }
        return areas("Open restrictions", "At the end of each day, by area.", self._labels, series)

    def change_chart(self) -> Chart:
        """What changed; without the first day, which would dwarf all others."""
        drawn = [
            (None, None, None) if day == self._facts.first_day else found
            for day, found in self._sums.items()
        ]
        flow: dict[str, Sequence[float | None]] = {
            "added": [added for added, _, _ in drawn],
            "changed": [changed for _, changed, _ in drawn],
            "removed": [removed and -removed for _, _, removed in drawn],
        }
        return columns(
            "Restrictions added, changed and removed each day",
            "Added and changed stand above the line, removed below it.",
            self._labels,
            flow,
            colours=(2, 4, 1),
        )

    def recent_table(self) -> Table:
        """The last days, the latest first."""
        return self._table("The last days", self.days[-_RECENT_DAYS:])

    def earlier_table(self) -> Table:
        """The days before them."""
        return self._table("Earlier days", self.days[:-_RECENT_DAYS])

    def _table(self, caption: str, days: Sequence[date]) -> Table:
        open_after = {(found.day, found.area): found.open_after for found in self._facts.days}
        rows: list[tuple[str | Cell, ...]] = [
            (
                Cell(day.isoformat(), instant=day.isoformat()),
                *(number(amount) for amount in self._sums[day]),
                *(number(open_after[day, area]) for area in self._areas),
            )
            for day in reversed(days)
        ]
        titles = (f"Open: {area_title(area).lower()}" for area in self._areas)
        return Table(caption, ("Day", "Added", "Changed", "Removed", *titles), rows)


def _sum(days: Iterable[DayFacts]) -> tuple[int, int, int]:
    found = list(days)
    return (
        sum(day.added for day in found),
        sum(day.changed for day in found),
        sum(day.removed for day in found),
    )
