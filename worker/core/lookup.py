"""Looks up many paths of a document in one traversal.

A declaration has about twenty paths through the same few objects. Looked up one by one, they took a
third of the time to read a record (docs/performance.md).
"""

from collections.abc import Iterable, Mapping
from typing import Any, Optional, TypeAlias

from worker.core.fields import Absent, FieldPath, Pick, element_of, spelling
from worker.core.remembered import RememberedNames


class Lookup:
    """The values of a fixed set of paths.

    Attributes:
        indexes: index of each path's value in the result of ``values``.
    """

    def __init__(self, paths: Iterable[FieldPath]) -> None:
        self.indexes: Mapping[FieldPath, int] = {
            path: index for index, path in enumerate(dict.fromkeys(paths))
        }
        self._blank: list[Any] = [Absent.MISSING] * len(self.indexes)
        self._root = _node(self.indexes)

    def values(self, document: Any) -> list[Any]:
        """The value of each path, as ``find`` returns it.

        Raises:
            ContractError: two field names of an object differ only in case.
        """
        values = self._blank.copy()
        self._root.fill(document, values)
        return values


_Step: TypeAlias = tuple[int, Optional["_Node"]]
"""Index of a value in the result (-1: none), and the node for the paths below it."""


class _Node:
    """The paths below one value, through its fields or its elements."""

    __slots__ = ("_elements", "_fields", "_of_elements", "_of_fields", "_steps")

    def __init__(self, fields: Mapping[str, _Step], elements: Mapping[int | Pick, _Step]) -> None:
        self._fields = fields
        self._elements = elements
        self._of_fields = _indexes(fields.values())
        self._of_elements = _indexes(elements.values())
        self._steps = RememberedNames(self._steps_of)

    @property
    def indexes(self) -> tuple[int, ...]:
        """The indexes of all paths below this value."""
        return self._of_fields + self._of_elements

    def fill(self, value: Any, values: list[Any]) -> None:
        """Fill in the values below ``value``; missing ones keep ``Absent.MISSING``."""
        if isinstance(value, dict):
            for name, index, below in self._steps[tuple(value)]:
                item = value[name]
                if index >= 0:
                    values[index] = item
                if below is not None:
                    below.fill(item, values)
            wrong = self._of_elements
        elif isinstance(value, list):
            self._fill_elements(value, values)
            wrong = self._of_fields
        elif value is None or value is Absent.MISSING:
            return
        else:
            wrong = self.indexes
        for index in wrong:
            values[index] = Absent.WRONG_TYPE

    def _fill_elements(self, array: list[Any], values: list[Any]) -> None:
        for element, (index, below) in self._elements.items():
            item = element_of(array, element)
            if index >= 0:
                values[index] = item
            if below is not None:
                below.fill(item, values)

    def _steps_of(self, names: tuple[str, ...]) -> list[tuple[str, int, Optional["_Node"]]]:
        """The steps for an object with these field names."""
        known = spelling(names) if self._fields else {}
        return [(known[low], *step) for low, step in self._fields.items() if low in known]


def _node(indexes: Mapping[FieldPath, int]) -> _Node:
    """Build the node of some paths, each with at least one step."""
    fields: dict[str, _Step] = {}
    elements: dict[int | Pick, _Step] = {}
    for first in dict.fromkeys(path[0] for path in indexes):
        rest = {path[1:]: index for path, index in indexes.items() if path[0] == first}
        ends = rest.pop((), -1)
        step = (ends, _node(rest) if rest else None)
        if isinstance(first, str):
            fields[first] = step
        else:
            elements[first] = step
    return _Node(fields, elements)


def _indexes(steps: Iterable[_Step]) -> tuple[int, ...]:
    """The indexes of all paths that end at these steps or below them."""
    indexes: list[int] = []
    for index, below in steps:
        if index >= 0:
            indexes.append(index)
        if below is not None:
            indexes += below.indexes
    return tuple(indexes)
