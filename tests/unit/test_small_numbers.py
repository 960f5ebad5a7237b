"""An attacker who sees what is shown, and all equations, never computes a hidden number."""

from itertools import product

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from worker.core.small_numbers import Cell, Mark, hide

HIDDEN_MAX = 9


def other_solutions(cells, equations, marks, least):
    """For each hidden cell whether another number would fit as well.

    The equations have coefficients of 1 and -1 and are connected in one way, so two solutions
    differ by steps of one (their matrix is totally unimodular): nothing larger need be tried.
    """
    free = [key for key, cell in cells.items() if key in marks or not cell.is_shown]
    assume(len(free) <= HIDDEN_MAX)
    found = set()
    for steps in product((0, 1, -1), repeat=len(free)):
        step = dict(zip(free, steps, strict=True))
        if not any(steps) or any(
            sum(sign * step.get(key, 0) for key, sign in equation.items()) for equation in equations
        ):
            continue
        values = {key: cells[key].value + step[key] for key in free}
        if all(
            at_least(cells[key]) <= value and (marks.get(key) is not Mark.SMALL or value < least)
            for key, value in values.items()
        ):
            found |= {key for key in free if step[key]}
    return found


def at_least(cell):
    """What a reader knows: 0 is shown as 0, so that what is hidden is 1 or more."""
    return min(cell.value, 1) if cell.is_shown else 0


def assert_hides(cells, equations, least, *, names_small=True):
    marks = hide(cells, equations, least=least, names_small=names_small)
    for key, cell in cells.items():
        behind = cell.value if cell.persons is None else cell.persons
        if cell.is_shown and 0 < behind < least:
            assert key in marks
        if marks.get(key) is Mark.SMALL:
            assert cell.value < least
    found = other_solutions(cells, equations, marks, least)
    assert {key for key in marks if cells[key].value} <= found
    return marks


def total(name, parts):
    return {name: -1} | dict.fromkeys(parts, 1)


NUMBER = st.integers(0, 12)
GROUPS = st.lists(st.lists(NUMBER, min_size=1, max_size=3), min_size=1, max_size=3)


@pytest.mark.promise("2")
@given(groups=GROUPS, least=st.integers(2, 6), names_small=st.booleans())
def test_totals_of_totals(groups, least, names_small):
    """Codes in groups in a total: one number alone in its group hides another somewhere."""
    cells: dict[object, Cell] = {}
    equations = []
    for place, numbers in enumerate(groups):
        cells |= {(place, code): Cell(value=number) for code, number in enumerate(numbers)}
        cells[place] = Cell(value=sum(numbers))
        equations.append(total(place, [(place, code) for code in range(len(numbers))]))
    cells["all"] = Cell(value=sum(map(sum, groups)))
    equations.append(total("all", range(len(groups))))
    assert_hides(cells, equations, least, names_small=names_small)


@pytest.mark.promise("2")
@given(codes=st.lists(NUMBER, min_size=1, max_size=4), weeks=st.data(), least=st.integers(2, 6))
def test_two_tables_that_share_a_total(codes, weeks, least):
    """The delayed by code and by the week in which they end."""
    amount = sum(codes)
    first = weeks.draw(st.integers(0, amount))
    second = weeks.draw(st.integers(0, amount - first))
    parts = {"w1": first, "w2": second, "later": amount - first - second}
    cells: dict[object, Cell] = {key: Cell(value=value) for key, value in parts.items()}
    cells |= {place: Cell(value=value) for place, value in enumerate(codes)}
    cells["all"] = Cell(value=amount)
    equations = [total("all", parts), total("all", range(len(codes)))]
    assert_hides(cells, equations, least)


@pytest.mark.promise("2")
@given(
    roster=st.integers(10, 30),
    nights=st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), min_size=1, max_size=3),
    least=st.integers(2, 6),
)
def test_flows_from_night_to_night(roster, nights, least):
    """Who came and who left cannot be computed from the rosters of two nights."""
    cells: dict[object, Cell] = {("roster", 0): Cell(value=roster)}
    equations = []
    for night, (joined, departed) in enumerate(nights, 1):
        roster += joined - departed
        cells |= {
            ("roster", night): Cell(value=roster),
            ("joined", night): Cell(value=joined),
            ("departed", night): Cell(value=departed),
        }
        equations.append(
            {
                ("roster", night - 1): 1,
                ("joined", night): 1,
                ("departed", night): -1,
                ("roster", night): -1,
            }
        )
    assert_hides(cells, equations, least)


@given(persons=st.lists(NUMBER, min_size=1, max_size=4), both=st.integers(0, 5), least=NUMBER)
def test_persons_of_several_codes(persons, both, least):
    """Persons do not add up, but of two codes there are no more than of both together."""
    both = min(both, sum(persons) - max(persons))
    cells: dict[object, Cell] = {place: Cell(value=value) for place, value in enumerate(persons)}
    cells["all"] = Cell(value=sum(persons) - both)
    cells["twice"] = Cell(value=both, is_shown=False)
    assert_hides(cells, [total("all", range(len(persons))) | {"twice": -1}], least)


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


def test_what_is_of_one_subject_is_hidden_together():
    """Who has one and how many there are; 0 beside a small number says nothing either."""
    cells = {
        "persons": Cell(value=3, subject="x"),
        "restrictions": Cell(value=7, subject="x"),
        "none": Cell(value=0, subject="x"),
        "y": Cell(value=0, subject="y"),
    }
    assert hide(cells, least=5) == {
        "persons": Mark.SMALL,
        "restrictions": Mark.HIDDEN,
        "none": Mark.SMALL,
    }


def test_small_numbers_that_can_only_be_1():
    """Six weeks of one person each add up to six, and zeros are shown: the total is hidden."""
    cells: dict[int | str, Cell] = {week: Cell(value=1) for week in range(6)}
    cells |= {"later": Cell(value=0), "all": Cell(value=6)}
    marks = hide(cells, [total("all", [*range(6), "later"])], least=5)
    assert marks["all"] == Mark.HIDDEN
    assert "later" not in marks


def test_a_small_total_of_ones_is_not_called_small():
    """Four of one each in a total below five: it could only be four."""
    cells = {part: Cell(value=1) for part in range(4)} | {"all": Cell(value=4)}
    marks = hide(cells, [total("all", range(4))], least=5)
    assert marks["all"] == Mark.HIDDEN


def test_below_two_is_one():
    """A limit of 2 hides without saying that the number is below it."""
    assert hide({"a": Cell(value=1)}, least=2) == {"a": Mark.HIDDEN}


def test_nothing_is_hidden_for_a_limit_of_0():
    """The switch."""
    assert hide({"a": Cell(value=1)}, least=0) == {}


@pytest.mark.parametrize("least", [2, 5, 10])
def test_the_limit_itself_is_shown(least: int):
    """So is 0; from 1 to one below the limit a number is hidden."""
    cells = {value: Cell(value=value) for value in (0, 1, least - 1, least, least + 1)}
    assert hide(cells, least=least).keys() == {1, least - 1}
