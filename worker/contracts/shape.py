"""The shape of JSON answers: each leaf's path with its kinds, and never a value."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

from worker.core.paths import leaves, safe_path, without_numbers
from worker.errors import DataContractError

FIELDS_MAX: Final = 1_000
"""Fields of a shape."""
NOTHING: Final = "nothing"
"""The kind of an element where a list was always empty."""

_EMPTY: Final = {dict: "object", list: NOTHING, type(None): "null"}
_KINDS: Final = {bool: "boolean", int: "integer", float: "number", str: "string"} | _EMPTY


class Leaf(NamedTuple):
    """What is known of one leaf.

    Attributes:
        kinds: JSON's kinds; ``url`` for a text that is an address.
        records: in how many records it stands, or around how many lists; 0 if nobody counted.
    """

    kinds: frozenset[str]
    records: int = 0


Shape: TypeAlias = Mapping[str, Leaf]
"""Leaves by their path, with ``[]`` for an element of a list; that of an answer that is a list
itself begins with it."""


def shape_of(answers: Iterable[Any]) -> Shape:
    """The shape of these answers.

    A name that does not look like one is ``?``: it may be an identifier.

    Raises:
        ContractError: one is nested too deeply.
        DataContractError: they have too many fields.
    """
    kinds = defaultdict[str, set[str]](set)
    counts = Counter[str]()
    for answer in answers:
        seen = set[str]()
        for path, value in leaves(answer):
            name = safe_name(without_numbers(path) + ("[]" if value == [] else ""))
            kinds[name].add(_kind_of(value))
            place = path.partition("]")[0] + name
            if place not in seen:
                seen.add(place)
                counts[name] += 1
        refuse_too_many(len(kinds))
    return {name: Leaf(frozenset(kinds[name]), counts[name]) for name in kinds}


def safe_name(path: str) -> str:
    """``safe_path``, also for what stands in an answer that is a list itself."""
    before = path[: path.startswith("[]") * 3]
    return before + (safe_path(path[len(before) :]) if path[len(before) :] else "")


def _kind_of(value: Any) -> str:
    if isinstance(value, str) and value.startswith(("https://", "http://", "/")):
        return "url"
    return _KINDS[type(value)]


def refuse_too_many(fields: int) -> None:
    """Refuse a shape of too many fields.

    Raises:
        DataContractError: it has.
    """
    if fields > FIELDS_MAX:
        raise DataContractError(f"an answer of more than {FIELDS_MAX} fields")


def lists_of(shape: Shape) -> list[str]:
    """The outermost lists of objects; those that were always empty count if there is no other."""
    full = {path.partition("[]")[0] for path in shape if "[]." in path}
    return sorted(full or {path.partition("[]")[0] for path in _empty(shape)})


def _empty(shape: Shape) -> Iterator[str]:
    return (path for path, leaf in shape.items() if path.endswith("[]") and NOTHING in leaf.kinds)
