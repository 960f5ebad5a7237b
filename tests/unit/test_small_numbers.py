"""Small numbers are hidden, and cannot be computed from what is shown beside them."""

from itertools import product

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from worker.core.small_numbers import Cell, Mark, hide

pytestmark = pytest.mark.promise("8")


def total(name, parts):
    return {name: -1} | dict.fromkeys(parts, 1)


def computable(cells, equations, marks, least):
    """The hidden cells for which no other number would fit, as seen by a reader.

    Two solutions differ by steps of one: nothing larger need be tried.
    """
    free = [key for key in cells if key in marks]
    assume(len(free) <= 7)
    found = set()
    for steps in product((0, 1, -1), repeat=len(free)):
        step = dict(zip(free, steps, strict=True))
        if any(
            sum(sign * step.get(key, 0) for key, sign in equation.items()) for equation in equations
        ):
            continue
        values = {key: cells[key].value + step[key] for key in free}
        if all(
            value >= min(cells[key].value, 1) and (marks[key] is not Mark.SMALL or value < least)
            for key, value in values.items()
        ):
            found |= {key for key in free if step[key]}
    return {key for key in marks if cells[key].value} - found


@given(
    groups=st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=3), min_size=1, max_size=2),
    least=st.integers(2, 6),
)
def test_totals_of_totals(groups, least):
    """Codes in groups in a total: one number alone in its group hides another somewhere."""
    cells: dict[object, Cell] = {"all": Cell(value=sum(map(sum, groups)))}
    equations = [total("all", range(len(groups)))]
    for place, numbers in enumerate(groups):
        cells |= {(place, code): Cell(value=number) for code, number in enumerate(numbers)}
        cells[place] = Cell(value=sum(numbers))
        equations.append(total(place, [(place, code) for code in range(len(numbers))]))
    marks = hide(cells, equations, least=least)
    small = {key for key, cell in cells.items() if 0 < cell.value < least}
    assert small <= marks.keys()
    assert computable(cells, equations, marks, least) == set()


def test_few_persons_with_many_restrictions_are_few():
    """Eight restrictions of two persons are hidden, and not called few; so is what they bear."""
    cells = {
        "a": Cell(value=8, persons=2),
        "b": Cell(value=20, persons=15),
        "c": Cell(value=9, persons=6),
        "all": Cell(value=37, persons=15),
    }
    marks = hide(cells, [total("all", "abc")], least=5)
    assert marks == {"a": Mark.HIDDEN, "c": Mark.HIDDEN}


@pytest.mark.parametrize("least", [2, 5, 10])
def test_the_limit_itself_is_shown(least: int):
    """So is 0; from 1 to one below the limit a number is hidden; a limit of 0 hides nothing."""
    cells = {value: Cell(value=value) for value in (0, 1, least - 1, least, least + 1)}
    assert hide(cells, least=least).keys() == {1, least - 1}
    assert hide(cells, least=0) == {}
