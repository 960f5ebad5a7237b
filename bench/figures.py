"""From measured samples to figures with goals, and to a table. Nothing is measured here."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bench.measure import Measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One case in one round."""

    persons: int
    wall_s: float
    cpu_s: float
    peak_kib: int

    @property
    def persons_per_s(self) -> float:
        """Start-up counted."""
        return self.persons / self.wall_s

    @property
    def cpu_s_per_1000(self) -> float:
        """Processor seconds for a thousand persons."""
        return 1000 * self.cpu_s / self.persons

    @property
    def peak_mb(self) -> float:
        """The most memory of one process, in millions of bytes."""
        return self.peak_kib * 1024 / 1e6


def sample(persons: int, measured: Measured) -> Sample:
    """What was measured, for so many persons."""
    return Sample(
        persons=persons,
        wall_s=measured.wall_s,
        cpu_s=measured.cpu_s,
        peak_kib=measured.peak_kib,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What a figure must reach, and what it should.

    Attributes:
        is_floor: the figure must not be below; else it must not be above.
    """

    must: float
    aim: float
    is_floor: bool = True

    def is_met(self, figure: float, limit: float) -> bool:
        """Whether the figure is on the right side of the limit."""
        return figure >= limit if self.is_floor else figure <= limit

    def words(self) -> str:
        """The goal itself."""
        sign = ">=" if self.is_floor else "<="
        return f"{sign} {self.must:g}, aim {self.aim:g}"

    def verdict(self, figure: float) -> str:
        """Met or not met."""
        if not self.is_met(figure, self.must):
            return "NOT MET"
        return "met, aim met" if self.is_met(figure, self.aim) else "met, aim not met"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the table.

    Attributes:
        values: one for each round; the figure is their median.
        digits: decimals that are shown.
    """

    name: str
    values: tuple[float, ...]
    unit: str
    digits: int = 0
    goal: Goal | None = None

    @property
    def value(self) -> float:
        """The median over the rounds."""
        return median(self.values)

    def cells(self) -> tuple[str, ...]:
        """The line: name, figure, unit, range, goal, verdict."""
        low, high = min(self.values), max(self.values)
        shown = f"{self._text(low)} to {self._text(high)}" if len(self.values) > 1 else ""
        goal, verdict = "", ""
        if self.goal is not None:
            goal, verdict = self.goal.words(), self.goal.verdict(self.value)
        return self.name, self._text(self.value), self.unit, shown, goal, verdict

    def _text(self, value: float) -> str:
        return f"{value:,.{self.digits}f}"


@dataclass(frozen=True, slots=True)
class Heading:
    """A line that begins a part of the table, or tells why a part is missing."""

    text: str


def ratios(ours: Sequence[Sample], theirs: Sequence[Sample]) -> tuple[float, ...]:
    """Persons per second of the one against the other, round by round."""
    return tuple(
        one.persons_per_s / other.persons_per_s for one, other in zip(ours, theirs, strict=True)
    )


HEAD = ("", "median", "unit", "range", "goal", "")


def table(lines: Sequence[Figure | Heading]) -> str:
    """The lines as plain text in columns."""
    rows = [HEAD, *(line.cells() for line in lines if isinstance(line, Figure))]
    widths = [max(len(row[place]) for row in rows) for place in range(len(HEAD))]
    shown = [_aligned(HEAD, widths)]
    for line in lines:
        if isinstance(line, Heading):
            shown += ["", line.text]
        else:
            shown.append(_aligned(line.cells(), widths))
    return "\n".join(shown)


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    texts = [
        cell.rjust(width) if place == 1 else cell.ljust(width)
        for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return f"  {'  '.join(texts)}".rstrip()
