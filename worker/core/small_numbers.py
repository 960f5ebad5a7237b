"""Which numbers of a table are hidden, because few persons stand behind them.

A number of few persons may say who they are. It is hidden, and with it as many others as are needed
so that nobody can compute it from a total. This decides; it writes no table.
"""

import enum
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from worker.core.value import Value

LEAST: Final = 5
"""The number of persons from which a cell is shown, where nobody has said another."""

_ONE_BELOW: Final = 2
"""A limit with one number below it, so that to say "below" is to say which."""

Equation: TypeAlias = Mapping[Any, int]
"""Cells with a sign, 1 or -1, whose sum is 0: the total with -1, its parts with 1."""


class Mark(enum.StrEnum):
    """What is shown in the place of a number."""

    SMALL = "small"
    """That it is below the limit; it may be 0."""
    HIDDEN = "hidden"
    """Nothing."""


class Cell(Value, frozen=True, kw_only=True):
    """A number of a table.

    Attributes:
        value: the number, 0 or more.
        persons: how many persons stand behind it, or fewer than that; None: ``value`` of them.
        weight: where one of several can be hidden, those of a lower weight are first.
    """

    value: int
    persons: int | None = None
    weight: int = 0


_Bounds: TypeAlias = dict[Hashable, tuple[float, float]]


def hide(
    cells: Mapping[Any, Cell],
    equations: Sequence[Equation] = (),
    *,
    least: int,
) -> dict[Hashable, Mark]:
    """The cells that are not shown.

    From what is shown and the equations, no hidden cell can be computed, even by a reader who knows
    which of them are not 0. This holds if no two equations are connected in more than one way, as
    in totals of totals; else it holds against everybody who takes the equations one by one.

    Args:
        equations: what a reader knows of their sums. It must be true of the numbers.
        least: a cell of fewer persons is hidden; 0 hides nothing.
    """
    marks = _small(cells, least)
    if not marks:
        return marks
    for near in _connected(equations):
        while exposed := _exposed(cells, near, marks, least):
            chosen = _next(cells, near, marks, exposed)
            if chosen is None:
                break
            marks[chosen] = Mark.HIDDEN  # one that is small, too: its limit said too much
    return marks


def _connected(equations: Sequence[Equation]) -> list[list[Equation]]:
    """The equations in groups: no number of one has to do with a number of another."""
    joined: dict[Hashable, Hashable] = {}

    def root(key: Hashable) -> Hashable:
        while joined.setdefault(key, key) != key:
            joined[key] = joined[joined[key]]
            key = joined[key]
        return key

    for equation in equations:
        first, *others = equation
        for other in others:
            joined[root(other)] = root(first)
    groups: dict[Hashable, list[Equation]] = {}
    for equation in equations:
        groups.setdefault(root(next(iter(equation))), []).append(equation)
    return list(groups.values())


def _small(cells: Mapping[Any, Cell], least: int) -> dict[Hashable, Mark]:
    """Cells of too few persons."""
    names_small = least > _ONE_BELOW
    return {
        key: Mark.SMALL if names_small and cell.value < least else Mark.HIDDEN
        for key, cell in cells.items()
        if _is_few(cell.value, least) or _is_few(cell.persons or 0, least)
    }


def _is_few(persons: int, least: int) -> bool:
    return 0 < persons < least


def _exposed(
    cells: Mapping[Any, Cell],
    equations: Sequence[Equation],
    marks: Mapping[Any, Mark],
    least: int,
) -> set[Hashable]:
    """The hidden cells of which a reader can know the number."""
    bounds: _Bounds = {}
    for key in dict.fromkeys(key for equation in equations for key in equation):
        cell = cells[key]
        low = min(cell.value, 1)  # 0 is shown as 0
        match marks.get(key):
            case Mark.SMALL:
                bounds[key] = (low, least - 1)
            case None:
                bounds[key] = (cell.value, cell.value)
            case _:
                bounds[key] = (low, math.inf)
    using: dict[Hashable, list[int]] = {}
    for place, equation in enumerate(equations):
        for key in equation:
            using.setdefault(key, []).append(place)
    waiting = dict.fromkeys(range(len(equations)))
    while waiting:
        place = next(iter(waiting))
        del waiting[place]
        for key in _narrow(bounds, equations[place]):
            waiting.update(dict.fromkeys(using[key]))
    return {key for key in bounds if key in marks and bounds[key][0] == bounds[key][1]}


def _narrow(bounds: _Bounds, equation: Equation) -> list[Hashable]:
    """Bound each cell of an equation by the others; those of which that said something new."""
    terms = {key: _times(sign, bounds[key]) for key, sign in equation.items()}
    low = _Sum(term[0] for term in terms.values())
    high = _Sum(term[1] for term in terms.values())
    new = []
    for key, sign in equation.items():
        rest = (-high.without(terms[key][1], math.inf), -low.without(terms[key][0], -math.inf))
        before, known = bounds[key], _times(sign, rest)
        bounds[key] = (max(before[0], known[0]), min(before[1], known[1]))
        if bounds[key] != before:
            new.append(key)
    return new


def _times(sign: int, bounds: tuple[float, float]) -> tuple[float, float]:
    return bounds if sign > 0 else (-bounds[1], -bounds[0])


class _Sum:
    """A sum from which one term can be taken again, infinite ones too."""

    def __init__(self, terms: Iterable[float]) -> None:
        self._finite = 0.0
        self._infinite = 0
        for term in terms:
            if math.isinf(term):
                self._infinite += 1
            else:
                self._finite += term

    def without(self, term: float, infinity: float) -> float:
        """The sum of the other terms; ``infinity`` if one of them is."""
        is_infinite = math.isinf(term)
        if self._infinite > is_infinite:
            return infinity
        return self._finite - (0 if is_infinite else term)


def _next(
    cells: Mapping[Any, Cell],
    equations: Sequence[Equation],
    marks: Mapping[Any, Mark],
    exposed: set[Hashable],
) -> Hashable | None:
    """The cell to hide next, near those that are exposed: the least loss.

    If all are hidden, the largest of those that are shown as small.

    None: of no number a limit is known. Then larger ones would fit everywhere.
    """
    order = {key: place for place, key in enumerate(k for e in equations for k in e)}
    region, size = set(exposed), 0
    while len(region) > size:
        size = len(region)
        for equation in [equation for equation in equations if not region.isdisjoint(equation)]:
            region.update(equation)
        near = [key for key in region if key not in marks]
        if near:
            return min(near, key=lambda key: _dearness(cells[key], order[key]))
    small = [key for key in region if marks.get(key) is Mark.SMALL]
    return max(small, key=lambda key: (cells[key].value, order[key]), default=None)


def _dearness(cell: Cell, place: int) -> tuple[int, bool, int, int]:
    """The smallest number is the least loss, but 0 protects little."""
    return cell.weight, not cell.value, cell.value, place
