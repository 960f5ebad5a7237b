"""Lines and axes of the report's drawings, and columns of its tables."""

from datetime import date, timedelta

import pytest

from worker.report.parts import (
    Cell,
    Row,
    Table,
    line,
    scale,
    without_empty_columns,
    without_rounding,
)


@pytest.mark.parametrize(
    ("low", "high", "least_step", "expected"),
    [
        (0, 0, 1, (0, 3)),
        (0, 0, 5, (0, 15)),
        (0, 7, 1, (0, 4)),
        (0, 251, 5, (0, 150)),
        (45, 55, 5, (0, 30)),
        (96, 104, 1, (96, 4)),
        (95, 105, 5, (75, 15)),
        (216_000, 217_900, 5, (216_000, 1_000)),
        (999_999, 1_000_000, 1, (999_996, 3)),
        (75, 75, 5, (60, 15)),
    ],
)
def test_axes_have_round_numbers(low, high, least_step, expected):
    """Two steps hold every number; the axis begins at 0 unless the numbers differ by little.

    It spans at least six steps of rounding, so that 45 and 50 are no cliff.
    """
    base, step = scale(low, high, least_step)
    assert (base, step) == expected
    assert base == 0 or 2 * step >= 6 * least_step
    assert base <= low <= high <= base + 2 * step


def test_a_line_has_gaps_where_there_is_no_number():
    """A hidden night, and a night alone between two of them."""
    days = [date(2026, 1, 1) + timedelta(days=day) for day in range(6)]
    drawn = line(days, [0, 20, None, 10, None, 20], withheld=[days[2]])
    assert drawn
    assert drawn.paths == ["M0.0 100.0L20.0 0.0"]
    assert drawn.dots == [(60.0, 50.0), (100.0, 0.0)]
    assert drawn.withheld == [(30.0, 20.0)]
    assert list(drawn.ticks) == [20, 10, 0]


@pytest.mark.parametrize("is_withheld", [True, False])
def test_a_line_is_broken_where_nothing_was_published(is_withheld):
    """There is no number between the days beside it; a withheld day has a mark."""
    days = [date(2026, 1, day) for day in (1, 2, 4, 5)]
    empty = [date(2026, 1, 3)]
    drawn = line(
        days,
        [0, 20, 20, 0],
        withheld=empty if is_withheld else [],
        missed=[] if is_withheld else empty,
    )
    assert drawn
    assert drawn.paths == ["M0.0 100.0L25.0 0.0", "M75.0 0.0L100.0 100.0"]
    assert bool(drawn.withheld) is is_withheld


def test_a_step_of_rounding_is_not_drawn():
    """Two steps are, as a straight segment, and each change from or to 0, which is never rounded.

    The last number is the one beside the line.
    """
    numbers = [0, 15, 10, 5, 0, 45, 50, 55, 50, 45, None, 50, 45]
    drawn = [0, 15, 10, 5, 0, 45, 50, 55, 50, 45, None, 45, 45]
    assert without_rounding(numbers, 10) == drawn
    assert without_rounding([140, 135, 140, 135], 10) == [135] * 4
    assert without_rounding([None], 10) == [None]
    assert without_rounding(numbers, 1) == numbers


def test_without_a_number_there_is_no_line():
    """All nights are hidden, or there is one day."""
    days = [date(2026, 1, 1), date(2026, 1, 2)]
    assert line(days, [None, None]) is None
    assert line(days[:1], [4]) is None


def test_a_column_that_only_the_total_fills_is_left_out():
    """The total of a group keeps its column."""
    rows = [
        Row([Cell("Group"), Cell("-"), Cell("1"), Cell("-")], "g", is_head=True),
        Row([Cell("Code"), Cell("-"), Cell("-"), Cell("-")], "g"),
        Row([Cell("Total"), Cell("1"), Cell("1"), Cell("-")], is_head=True),
    ]
    table = Table("caption", ["code", "change", "share", "empty"], rows)
    assert without_empty_columns(table, "-").head == ["code", "share"]
