"""Decides which of the report's numbers are hidden, over all its tables together."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from worker.core.small_numbers import Cell, Equation, Mark, hide
from worker.report.figures import CodeFacts, CodeKey, NightFacts, ReportFacts

OPEN: Final = "open"
NONE: Final = "none"
NOT_NOW: Final = "not_now"
LATER: Final = "later"
INDEFINITE: Final = "indefinite"


class VisibleNumbers:
    """The report's numbers by key, with the hidden ones.

    A key is a word of this module or a tuple: ``("total", publication)``, ``("persons", …)``,
    ``("roster", …)``, ``("confirmed", …)``, ``("stale", …)``, ``("group", publication, group)``,
    ``("code", publication, CodeKey)``, ``("week", number)``, ``("failed", kind)``,
    ``("duration", area)``, ``("cohort", cohort)``, ``("cohort roster", cohort)``.
    """

    def __init__(self, facts: ReportFacts, *, least: int) -> None:
        self.least = least
        self.cells: dict[Any, Cell] = {}
        self.equations: list[Equation] = []
        for night in facts.nights:
            self._night(night)
        if facts.nights:
            self._last(facts)
        if facts.then is not None:
            self._codes(facts.then, facts.codes_then)
        self.marks: Mapping[Any, Mark] = hide(self.cells, self.equations, least=least)

    def value(self, key: Any) -> int | None:
        """The number; None if it is hidden or missing."""
        return None if key in self.marks or key not in self.cells else self.cells[key].value

    def _add(
        self, key: Any, value: int | None, persons: int | None = None, *, weight: int = 0
    ) -> None:
        if value is not None:
            self.cells[key] = Cell(value=value, persons=persons, weight=weight)

    def _sum(self, total: Any, parts: Iterable[Any]) -> None:
        self.equations.append({total: -1} | dict.fromkeys(parts, 1))

    def _night(self, night: NightFacts) -> None:
        number = night.publication_no
        self._add(("persons", number), night.persons_in_effect, weight=2)
        self._add(("total", number), night.in_effect, night.persons_in_effect, weight=2)
        for group, amount in night.groups.items():
            self._add(("group", number, group), amount.restrictions, amount.persons, weight=1)
        self._sum(("total", number), (("group", number, group) for group in night.groups))
        if night.roster is not None and night.confirmed is not None and night.stale is not None:
            self._add(("roster", number), night.roster, weight=2)
            self._add(("confirmed", number), night.confirmed)
            self._add(("stale", number), night.stale)
            self._sum(("roster", number), (("confirmed", number), ("stale", number)))

    def _last(self, facts: ReportFacts) -> None:
        self._codes(facts.last, facts.codes)
        number, ends = facts.last.publication_no, facts.ends
        nothing = [code.open for key, code in facts.codes.items() if key.group == "none"]
        self._add(OPEN, sum(code.open.restrictions for code in facts.codes.values()), weight=1)
        self._add(
            NONE,
            sum(amount.restrictions for amount in nothing),
            max((amount.persons for amount in nothing), default=0),
        )
        self._add(NOT_NOW, ends.not_now.restrictions, ends.not_now.persons)
        self._sum(OPEN, (NONE, NOT_NOW, ("total", number)))
        if not facts.is_altered:
            self._ends(facts)
        for cohort in facts.cohorts:
            self._add(("cohort", cohort.cohort), cohort.in_effect)
            self._add(("cohort roster", cohort.cohort), cohort.roster)
        if facts.cohorts and facts.last.roster is not None:
            self._sum(("persons", number), (("cohort", found.cohort) for found in facts.cohorts))
            self._sum(
                ("roster", number), (("cohort roster", found.cohort) for found in facts.cohorts)
            )
        for kind, persons in facts.last.failed.items():
            self._add(("failed", kind), persons)
        for duration in facts.durations:
            amount = duration.amount
            self._add(("duration", duration.area), amount.restrictions, amount.persons)

    def _ends(self, facts: ReportFacts) -> None:
        ends = facts.ends
        for week, amount in enumerate(ends.weeks):
            self._add(("week", week), amount.restrictions, amount.persons)
        self._add(LATER, ends.later.restrictions, ends.later.persons)
        self._add(INDEFINITE, ends.indefinite.restrictions, ends.indefinite.persons)
        if "delayed" in facts.last.groups:
            weeks = (("week", week) for week in range(len(ends.weeks)))
            delayed = ("group", facts.last.publication_no, "delayed")
            self._sum(delayed, (*weeks, LATER, INDEFINITE))

    def _codes(self, night: NightFacts, codes: Mapping[CodeKey, CodeFacts]) -> None:
        number = night.publication_no
        parts: dict[str, list[Any]] = {}
        for key, code in codes.items():
            if code.in_effect.restrictions:
                self._add(
                    ("code", number, key), code.in_effect.restrictions, code.in_effect.persons
                )
                parts.setdefault(key.group, []).append(("code", number, key))
        for group, keys in parts.items():
            self._sum(("group", number, group), keys)
