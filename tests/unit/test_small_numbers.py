"""One rule for small numbers: rounded, of few persons, or a range, and none can be computed."""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.display import LEAST_MIN, ShownCount, SmallNumbers, reveals, whole

pytestmark = pytest.mark.promise("8")


def shown(count: ShownCount) -> tuple[int, int, bool]:
    """The parts of a count that a reader sees."""
    return count.first, count.last, count.is_few


@pytest.mark.parametrize(
    ("count", "number"),
    [(0, 0), (1, None), (4, None), (5, 5), (7, 5), (8, 10), (12, 10), (13, 15), (1_003, 1_005)],
)
def test_a_count_is_rounded_or_of_few_persons(count, number):
    """Zero is zero, below the limit there is no number, and above it only fives."""
    assert SmallNumbers().count(count).number == number


def test_many_restrictions_of_few_persons_are_few():
    """The persons behind a count decide, if they are counted."""
    small = SmallNumbers()
    assert small.count(80, 4).is_few
    assert small.count(81, 5).number == 80
    assert small.count(3, 80).is_few


def test_exact_numbers_on_request():
    """A limit of 0 hides and rounds nothing, totals included."""
    small = SmallNumbers(0)
    assert [small.count(count, 1).number for count in (0, 1, 7, 1_003)] == [0, 1, 7, 1_003]
    assert small.total(7, 1, [small.count(3), small.count(4)]).number == 7


def test_a_rate_of_rounded_counts_has_two_digits():
    """15 of 45 may be 13 of 47. Exact counts have an exact rate, small counts have none."""
    small, exact = SmallNumbers(), SmallNumbers(0)
    assert small.rate(small.count(15), small.count(45)) == 0.33
    assert small.rate(small.count(0), small.count(45)) == 0
    assert exact.rate(exact.count(15), exact.count(45)) == 15 / 45
    assert small.rate(small.count(4), small.count(45)) is None
    assert small.rate(small.count(15), small.count(4)) is None


@given(count=st.integers(1, 10_000), least=st.integers(LEAST_MIN, 12))
def test_a_shown_count_fits_several(count, least):
    """No number but 0 stands for one count alone, at any limit."""
    small = SmallNumbers(least)
    near = range(max(count - 12, 1), count + 13)
    assert len([n for n in near if small.count(n) == small.count(count)]) > 1


def test_a_total_that_would_reveal_its_parts_is_a_range():
    """A ward with 5 soft and 1 hard block and 1 shield: a total of "5" would be 7."""
    small = SmallNumbers()
    blocked = small.total(6, None, [small.count(5), small.count(1)])
    total = small.total(7, None, [blocked, small.count(1)])
    assert shown(blocked) == (5, 10, False)
    assert shown(total) == (5, 10, False)
    assert small.total(90, None, [small.count(85), small.count(5)]).number == 90


TABLES = [
    (5, 17, [(1,), (2,), (3,)]),
    (4, 7, [(4,), (2, 1)]),
    (5, 7, [(4,), (2, 2), (1, 2), (1, 1, 1)]),
    (7, 12, [(2, 1)]),
]
"""Limit, greatest count, and how many codes each group has. The count is the end of a step."""


@pytest.mark.parametrize(("least", "most", "shapes"), TABLES)
def test_no_table_reveals_a_small_count(least, most, shapes):
    """All tables of these sizes: those that look alike leave each hidden cell three values.

    That holds for a reader who knows this program: what looks alike is compared, not computed.
    """
    for shape in shapes:
        alike = defaultdict(list)
        for codes in itertools.product(range(1, most + 1), repeat=sum(shape)):
            values, cells = _table(SmallNumbers(least), shape, codes)
            alike[tuple(map(shown, cells))].append(values)
        for looks, tables in alike.items():
            for cell, (_, _, is_few) in enumerate(looks):
                possible = {values[cell] for values in tables}
                assert not is_few or len(possible) >= 3, (shape, looks, tables[:3])


def _table(
    small: SmallNumbers, shape: Sequence[int], codes: Sequence[int]
) -> tuple[list[int], list[ShownCount]]:
    """Codes, groups and the total: the counts, and how they are shown."""
    rest: Iterator[int] = iter(codes)
    inside = [[next(rest) for _ in range(size)] for size in shape]
    parts = [[small.count(code) for code in group] for group in inside]
    groups = [small.total(sum(a), None, b) for a, b in zip(inside, parts, strict=True)]
    total = small.total(sum(codes), None, groups)
    values = [*codes, *map(sum, inside), sum(codes)]
    return values, [*itertools.chain(*parts), *groups, total]


def test_two_tables_of_the_same_count_may_not_fit():
    """By age there are 5 to 7, and by code 7 at least: each code below the limit would be 1."""
    small = SmallNumbers()
    ages, codes = [small.count(7)], [small.count(5), small.count(1), small.count(1)]
    assert reveals(whole(ages, codes))
    assert not reveals(whole([small.count(10)], codes))
    assert not reveals(whole(ages, []))


@pytest.mark.timeout(10)
def test_totals_that_contradict_their_parts_end_the_search():
    """A few persons with many restrictions: no bounds of persons explain the total."""
    small = SmallNumbers()
    parts = [small.count(20, persons=2), small.count(20, persons=2)]
    assert not reveals(ShownCount(40, 40, 38, 42, [parts]))


def test_a_few_persons_may_have_many_restrictions():
    """A group of 13 to 17 with two rows of few persons cannot have one restriction per person.

    Beside it and a row of 5, three rows of few leave each other one or two of a total of 22.
    """
    small = SmallNumbers()
    few = [small.count(1) for _ in range(5)]
    group = ShownCount(15, 15, 13, 17, [few[:2]])
    assert reveals(ShownCount(20, 20, 18, 22, [[group, small.count(5), *few[2:]]]))
    assert not reveals(ShownCount(25, 25, 23, 27, [[group, small.count(5), *few[2:]]]))
