"""Many paths of one document, looked up in one walk.

A declaration names some twenty paths, most of them through the same few objects. Followed one by
one, they were a third of what reading a record took (docs/performance.md).
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, Optional, TypeAlias

from worker.core.fields import Absent, FieldPath, Pick, element_of, spelling

_SPELLINGS_MAX: Final = 512
"""Of one object; what is remembered of them is dropped then, and made anew."""


class Lookup:
    """The values of a fixed set of paths.

    Attributes:
        slots: by path, the place of its value in what ``values`` gives.
    """

    def __init__(self, paths: Iterable[FieldPath]) -> None:
        self.slots: Mapping[FieldPath, int] = {
            path: slot for slot, path in enumerate(dict.fromkeys(paths))
        }
        self._blank: list[Any] = [Absent.MISSING] * len(self.slots)
        self._root = _node(self.slots)

    def values(self, document: Any) -> list[Any]:
        """What ``find`` gives for each path.

        Raises:
            ContractError: two field names on the way differ in case only.
        """
        found = self._blank.copy()
        self._root.look(document, found)
        return found


_Step: TypeAlias = tuple[int, Optional["_Node"]]
"""Where a value goes (-1: nowhere), and what is looked up below it."""


class _Node:
    """The paths that go on from one value: through its fields, or through its elements."""

    __slots__ = ("_elements", "_fields", "_of_elements", "_of_fields", "_spelled")

    def __init__(self, fields: Mapping[str, _Step], elements: Mapping[int | Pick, _Step]) -> None:
        self._fields = fields
        self._elements = elements
        self._of_fields = _slots(fields.values())
        self._of_elements = _slots(elements.values())
        self._spelled: dict[tuple[str, ...], list[tuple[str, int, _Node | None]]] = {}

    @property
    def slots(self) -> tuple[int, ...]:
        """All below this value."""
        return self._of_fields + self._of_elements

    def look(self, value: Any, found: list[Any]) -> None:
        """Fill in what there is below a value; until then ``found`` says that all is missing."""
        if isinstance(value, dict):
            names = tuple(value)
            steps = self._spelled.get(names)
            for name, slot, below in self._learn(names) if steps is None else steps:
                there = value[name]
                if slot >= 0:
                    found[slot] = there
                if below is not None:
                    below.look(there, found)
            wrong = self._of_elements
        elif isinstance(value, list):
            self._look_at_elements(value, found)
            wrong = self._of_fields
        elif value is None or value is Absent.MISSING:
            return
        else:
            wrong = self.slots
        for slot in wrong:
            found[slot] = Absent.WRONG_TYPE

    def _look_at_elements(self, array: list[Any], found: list[Any]) -> None:
        for element, (slot, below) in self._elements.items():
            there = element_of(array, element)
            if slot >= 0:
                found[slot] = there
            if below is not None:
                below.look(there, found)

    def _learn(self, names: tuple[str, ...]) -> list[tuple[str, int, Optional["_Node"]]]:
        """The fields that are looked for, as an object with these names spells them."""
        known = spelling(names) if self._fields else {}
        if len(self._spelled) >= _SPELLINGS_MAX:
            self._spelled.clear()
        learnt = [(known[low], *step) for low, step in self._fields.items() if low in known]
        self._spelled[names] = learnt
        return learnt


def _node(slots: Mapping[FieldPath, int]) -> _Node:
    """The node of paths, each of at least one step."""
    fields: dict[str, _Step] = {}
    elements: dict[int | Pick, _Step] = {}
    for first in dict.fromkeys(path[0] for path in slots):
        rest = {path[1:]: slot for path, slot in slots.items() if path[0] == first}
        ends = rest.pop((), -1)
        step = (ends, _node(rest) if rest else None)
        if isinstance(first, str):
            fields[first] = step
        else:
            elements[first] = step
    return _Node(fields, elements)


def _slots(steps: Iterable[_Step]) -> tuple[int, ...]:
    """All that end at these steps or below them."""
    slots: list[int] = []
    for slot, below in steps:
        if slot >= 0:
            slots.append(slot)
        if below is not None:
            slots += below.slots
    return tuple(slots)
