"""Building blocks of the page, as value types: cells, tables, tiles, lines and charts.

``templates/parts.html`` draws lines in a box of 100 by 100, which is stretched to fit. All
text is in HTML beside the box, where it keeps its size and is never cut.
"""

import math
from collections.abc import Sequence
from datetime import date

from worker.core.value import Value

_STEPS = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8)
"""The step of an axis is one of these numbers times a power of ten."""
_PARTS = 2
"""Number of steps of an axis."""
_SPAN_STEPS_MIN = 6
"""Minimum span of an axis, in rounding steps. One step must not look like a cliff."""


class LineChart(Value, frozen=True):
    """A line over days.

    Attributes:
        paths: the pieces of the line, as SVG paths. A day without a number or without a publication
            is a gap.
        dots: positions of numbers between two gaps.
        ticks: numbers at the top, in the middle and at the bottom of the box.
        withheld: left edge and width of each day with a withheld run.
    """

    paths: Sequence[str]
    dots: Sequence[tuple[float, float]]
    ticks: tuple[float, float, float]
    withheld: Sequence[tuple[float, float]] = ()


class Cell(Value, frozen=True):
    """One cell of a table.

    Attributes:
        spoken: replaces ``text`` for a screen reader.
        small: smaller text below it.
        bar: length of a bar in per cent.
    """

    text: str
    spoken: str = ""
    small: str = ""
    bar: float | None = None


class Row(Value, frozen=True):
    """A row of a table. ``is_head`` marks the total of a group or, without a group, of all rows."""

    cells: Sequence[Cell]
    group: str = ""
    is_head: bool = False

    @property
    def is_grand_total(self) -> bool:
        """Whether it is the total of all rows."""
        return self.is_head and not self.group


class Table(Value, frozen=True):
    """A table. Its first column has text, the others numbers."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Row]


class Tile(Value, frozen=True):
    """A key figure, with a line of the last month."""

    amount: Cell
    words: str
    notes: Sequence[str]
    spark: LineChart | None


class Chart(Value, frozen=True):
    """A line chart with its texts."""

    title: str
    desc: str
    line: LineChart
    ticks: Sequence[str]
    first: str
    last: str
    group: str = ""
    amount: Cell | None = None
    notes: Sequence[str] = ()


def line(
    days: Sequence[date],
    values: Sequence[float | None],
    *,
    withheld: Sequence[date] = (),
    missed: Sequence[date] = (),
    from_zero: bool = False,
    least_step: int = 1,
) -> LineChart | None:
    """Draw a line from the first to the last day. None if no day has a number.

    Args:
        from_zero: the axis starts at 0. See ``scale`` for the default.
        least_step: the step to which the numbers are rounded.
    """
    numbers = [value for value in values if value is not None]
    if not numbers or days[0] == days[-1]:
        return None
    low, step = scale(0 if from_zero else min(numbers), max(numbers), least_step)
    span = (days[-1] - days[0]).days

    def x(day: date) -> float:
        return round((day - days[0]).days / span * 100, 2)

    def y(value: float) -> float:  # downwards in SVG
        return round(100 - (value - low) / (step * _PARTS) * 100, 2)

    pieces: list[list[tuple[float, float]]] = [[]]
    # Days without a publication are not among the nights, so they are added as gaps.
    by_day = dict.fromkeys([*withheld, *missed]) | dict(zip(days, values, strict=True))
    for day, value in sorted(by_day.items()):
        if value is None:
            pieces.append([])
        else:
            pieces[-1].append((x(day), y(value)))
    width = 100 / span
    return LineChart(
        paths=["M" + "L".join(f"{a} {b}" for a, b in piece) for piece in pieces if len(piece) > 1],
        dots=[piece[0] for piece in pieces if len(piece) == 1],
        ticks=(low + step * _PARTS, low + step, low),
        withheld=[(round(x(day) - width / 2, 2), round(width, 2)) for day in withheld],
    )


def without_rounding(values: Sequence[int | None], least: int) -> Sequence[int | None]:
    """Return the numbers without the changes that are smaller than ``least``.

    The last number is the first level, so the line ends at the number beside it. Going backwards, a
    number that differs from the level by less than ``least`` is drawn at the level. Otherwise it is
    the next level. A straight segment joins two levels, so that a slow change does not look like a
    cliff. 0 is never rounded, so a change from or to 0 is always drawn.
    """
    drawn = list(values)
    numbers = [(place, value) for place, value in enumerate(values) if value is not None]
    if not numbers:
        return drawn
    level_from, level = numbers[-1]
    for place, value in reversed(numbers):
        is_next_level = value == 0 or level == 0 or abs(value - level) >= least
        drawn[place] = value if is_next_level else level
        if is_next_level:
            for between in range(place + 1, level_from):
                if values[between] is not None:
                    share = (between - place) / (level_from - place)
                    drawn[between] = round(value + share * (level - value))
            level = value
        # The segment ends at the earliest number that equals the level.
        if value == level:
            level_from = place
    return drawn


def scale(low: float, high: float, least_step: int = 1) -> tuple[float, float]:
    """Return the lowest number of an axis, and its step. Two steps cover all numbers.

    The axis starts at 0 unless the numbers differ by less than a third. It spans at least six times
    ``least_step``.
    """
    span = max(high - low, _SPAN_STEPS_MIN * least_step)
    if low < high * 2 / 3 or span > high / 2:
        low, span = 0.0, max(high, span)
    # A line with little change is in the middle of the box.
    low = max(low - (span - high + low) / 2, 0.0)
    rough = span / _PARTS
    power = 10.0 ** math.floor(math.log10(rough))
    for factor in (power, power * 10):
        for digit in _STEPS:
            step = digit * factor
            # Ticks are counts of persons or restrictions, so they are whole numbers.
            is_fit = step >= rough * (1 - 1e-9) and step.is_integer()
            base = math.floor(low / step + 1e-9) * step
            if is_fit and base + step * _PARTS >= high * (1 - 1e-9):
                return base, step
    # Not reached: with the larger factor, a step always fits.
    return 0.0, high


def without_empty_columns(table: Table, empty: str) -> Table:
    """Return the table without the columns that contain only this text, except in the total."""
    places = [
        place
        for place in range(len(table.head))
        if any(row.cells[place] != Cell(empty) for row in table.rows if not row.is_grand_total)
    ]
    rows = [Row([row.cells[n] for n in places], row.group, row.is_head) for row in table.rows]
    return Table(table.caption, [table.head[n] for n in places], rows)
