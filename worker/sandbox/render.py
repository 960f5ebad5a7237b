"""Writes the values of a restriction where the contract says that they stand."""

import hashlib
import re
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final, TypeAlias
from zoneinfo import ZoneInfo

from worker.sandbox.contract import EACH, AreaContract, Paths, Source, first_of, is_list
from worker.sandbox.restrictions import Document, Instant, Restriction, sample

_Step: TypeAlias = str | int | tuple[str, Any]
"""A field, the number of an element, or the element whose field has a value."""

_STEP: Final = re.compile(r"([^.\[\]]*@.+|[^.\[\]]+)|\[(\d+)\]|\[([^\[\]=]+)=([^\[\]]+)\]")
"""Of a path; an annotation such as `@odata.nextLink` is one name."""
_NUMBER: Final = re.compile(r"-?(0|[1-9]\d*)")
_KIND: Final = "Restriction"
"""What stands in the first parts of an id of several, unless a column does."""


@lru_cache(maxsize=1024)
def _steps(path: str) -> tuple[_Step, ...]:
    return tuple(
        name or (int(index) if index else (field, _plain(value)))
        for name, index, field, value in _STEP.findall(path)
    )


def _plain(text: str) -> Any:
    """What JSON has for a text in the contract: a whole number, true or false, or the text."""
    if _NUMBER.fullmatch(text):
        return int(text)
    return {"true": True, "false": False}.get(text, text)


def put(document: Document, path: str, value: Any, *, null_parents: bool = False) -> None:
    """Write a value at a path; null only where nothing is yet.

    Args:
        null_parents: null makes no parents, but stands for the first one that is not there.

    Raises:
        ValueError: a value stands where the path needs an object or an array.
    """
    steps = _steps(path)
    holder: Any = document
    for step, after in pairwise(steps):
        child = _get(holder, step)
        if child is None and value is None and null_parents:
            if isinstance(step, str):
                _set(holder, step, None)
            return
        if child is None:
            child = _set(holder, step, {} if isinstance(after, str) else [])
        holder = child
    if _get(holder, steps[-1]) is None or value is not None:
        _set(holder, steps[-1], value)


def _get(holder: Any, step: _Step) -> Any:
    needed: type[Any] = dict if isinstance(step, str) else list
    if not isinstance(holder, needed):
        raise ValueError("two paths lead through the same field, once to a value")  # noqa: TRY004
    if isinstance(step, str):
        return holder.get(step)
    if isinstance(step, int):
        return holder[step] if step < len(holder) else None
    name, wanted = step
    return next((element for element in holder if element.get(name) == wanted), None)


def _set(holder: Any, step: _Step, value: Any) -> Any:
    """Write a value, and return it; an element that is picked by a value is not alone."""
    if isinstance(step, tuple):
        name, wanted = step
        value = {name: wanted}
        holder += [{name: not wanted}, value] if isinstance(wanted, bool) else [value]
        return value
    if isinstance(step, int):
        holder += [{} for _ in range(len(holder), step + 1)]
    holder[step] = value
    return value


class Renderer:
    """Renders the restrictions of an area.

    Raises:
        ValueError: a path cannot be written.
    """

    def __init__(self, area: str, contract: AreaContract) -> None:
        self._contract = contract
        self._ids = contract.id.split("+")
        self._sent = {
            # Of several that are stored as the same, the first is sent.
            column: {stored: _plain(sent) for sent, stored in reversed(values.items())}
            for column, values in contract.values.items()
        }
        # A whole array comes before what stands in one of its elements.
        self._columns = sorted(contract.columns.items(), key=lambda column: not is_list(column[1]))
        self.record(sample(area, "0" * 11))

    def record(self, restriction: Restriction) -> Document:
        """A record as PTS sends it; one whose ``id`` is empty has none."""
        document: Document = {}
        if restriction.id:
            for path in self._ids:
                put(document, path, restriction.id if path == self._ids[-1] else _KIND)
        for path in self._contract.person[:1]:
            put(document, path, restriction.off_id)
        for name, source in self._columns:
            if restriction.id or first_of(source) not in self._ids:
                self._write(document, name, source, restriction.values[name])
        for name, source in self._contract.extra.items():
            self._write(document, name, source, _made_up(restriction, name, source))
        return restriction.undeclared | document

    def _write(self, document: Document, name: str, source: Source, value: Any) -> None:
        if isinstance(source, str | list):
            if isinstance(value, dict) and name == "created_by":
                value = ", ".join(value.values())
            elif isinstance(value, str):
                value = self._sent.get(name, {}).get(value, value)
            self._put(document, source, value)
        elif is_list(source):
            elements: list[Document] = [{} for _ in value]
            leaves = {leaf: paths for leaf, paths in source.items() if leaf != EACH}
            for element, values in zip(elements, value, strict=True):
                self._write(element, name, leaves, values)
            put(document, first_of(source[EACH]), elements)
        else:
            for leaf, paths in source.items():
                self._put(document, paths, value.get(leaf))

    def _put(self, document: Document, paths: Paths, value: Any) -> None:
        if isinstance(value, Instant):
            zone = self._contract.naive_times
            value = value.text(None if zone == "failure" else ZoneInfo(zone))
        put(document, first_of(paths), value, null_parents=True)


def _made_up(restriction: Restriction, name: str, source: Source) -> Any:
    """A value for a field that the contract keeps in ``extra``: always the same."""
    if isinstance(source, dict):
        leaves = {leaf: _made_up(restriction, leaf, "") for leaf in source if leaf != EACH}
        return [leaves] if is_list(source) else leaves
    number = int.from_bytes(_digest(f"{restriction.id} {name}")) % 100
    return (f"made up {number}", number, number % 2 == 0)[_digest(name)[0] % 3]


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=2).digest()
