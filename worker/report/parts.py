"""The building blocks of the template: cells, tables, tiles and charts."""

from collections.abc import Sequence

from worker.core.value import Value
from worker.report.charts import LineChart


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
    """A table; its first ``text`` columns hold text, the others numbers."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Row]
    text: int = 1


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
