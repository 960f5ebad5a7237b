"""What the template shows: texts in cells, tables, tiles and charts."""

from collections.abc import Sequence
from dataclasses import dataclass

from worker.report.charts import LineChart


@dataclass(frozen=True, slots=True)
class Cell:
    """What a table shows in a place.

    Attributes:
        spoken: instead of ``text``, for a screen reader.
        small: smaller text below it.
        bar: the length of a bar, in per cent.
        heat: how much it is beside the others, from 0 to 5.
    """

    text: str
    spoken: str = ""
    small: str = ""
    bar: float | None = None
    heat: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table, or with ``is_head`` the head of those below it."""

    cells: Sequence[Cell]
    group: str = ""
    is_head: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table; its first ``text`` columns hold text, the others numbers."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Row]
    text: int = 1


@dataclass(frozen=True, slots=True)
class Tile:
    """A number that matters, with a line of the last month."""

    amount: Cell
    words: str
    notes: Sequence[str]
    spark: LineChart | None


@dataclass(frozen=True, slots=True)
class Chart:
    """A line with its words."""

    title: str
    desc: str
    line: LineChart
    ticks: Sequence[str]
    first: str
    last: str
    group: str = ""
    amount: Cell | None = None
    notes: Sequence[str] = ()
