"""The building blocks of the page as values: cells, tables, tiles, lines and charts.

``templates/parts.html`` draws lines in a box of 100 by 100, which is stretched to its place. So
all words are in HTML beside it, where they keep their size and are never cut.
"""

import math
from collections.abc import Sequence
from datetime import date

from worker.core.value import Value

_STEPS = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8)
_PARTS = 2
_SPAN_STEPS_MIN = 6
"""How many steps of rounding an axis spans at least, so that one step is no cliff."""


class LineChart(Value, frozen=True):
    """A line over days.

    Attributes:
        paths: the pieces of the line, as SVG paths; a day without a number, or one on which nothing
            was published, is a gap.
        dots: places of numbers that stand alone.
        ticks: numbers at the top, in the middle and at the bottom of the box.
        withheld: left edge and width of each day to be marked.
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
    """A row of a table; ``is_head``: the heading of the rows below it."""

    cells: Sequence[Cell]
    group: str = ""
    is_head: bool = False


class Table(Value, frozen=True):
    """A table; its first column holds text, the others numbers."""

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
    """A line from the first to the last day; None if no day has a number.

    The axis begins at 0 if asked for, or unless the numbers differ by little.

    Args:
        least_step: the numbers are rounded to it.
    """
    known = [value for value in values if value is not None]
    if not known or days[0] == days[-1]:
        return None
    low, step = scale(0 if from_zero else min(known), max(known), least_step)
    span = (days[-1] - days[0]).days

    def x(day: date) -> float:
        return round((day - days[0]).days / span * 100, 2)

    def y(value: float) -> float:
        return round(100 - (value - low) / (step * _PARTS) * 100, 2)

    pieces: list[list[tuple[float, float]]] = [[]]
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


def scale(low: float, high: float, least_step: int = 1) -> tuple[float, float]:
    """The lowest number of an axis and its step; two steps hold all numbers.

    The axis begins at 0 unless the numbers differ by little, and spans at least six times
    ``least_step``.
    """
    span = max(high - low, _SPAN_STEPS_MIN * least_step)
    if low < high * 2 / 3 or span > high / 2:
        low, span = 0.0, max(high, span)
    low = max(low - (span - high + low) / 2, 0.0)
    rough = span / _PARTS
    power = 10.0 ** math.floor(math.log10(rough))
    for factor in (power, power * 10):
        for digit in _STEPS:
            step = digit * factor
            is_fit = step >= rough * (1 - 1e-9) and step.is_integer()
            base = math.floor(low / step + 1e-9) * step
            if is_fit and base + step * _PARTS >= high * (1 - 1e-9):
                return base, step
    return 0.0, high


def without_empty_columns(table: Table, empty: str) -> Table:
    """The table without columns of numbers that hold this text alone."""
    kept = [
        place
        for place in range(len(table.head))
        if any(row.cells[place] != Cell(empty) for row in table.rows)
    ]
    rows = [Row([row.cells[n] for n in kept], row.group, row.is_head) for row in table.rows]
    return Table(table.caption, [table.head[n] for n in kept], rows)
