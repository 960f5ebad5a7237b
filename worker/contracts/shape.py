"""The shape of JSON answers: each leaf's path with its kinds, and never a value."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

from worker.core.paths import leaves, safe_path, without_numbers
from worker.errors import ContractError, DataContractError

FIELDS_MAX: Final = 1_000
"""Fields of a shape."""

_EMPTY_LIST: Final = "nothing"
_EMPTY: Final = {dict: "object", list: _EMPTY_LIST, type(None): "null"}
_KINDS: Final = {bool: "boolean", int: "integer", float: "number", str: "string"} | _EMPTY


class Leaf(NamedTuple):
    """What is known of one leaf.

    Attributes:
        kinds: JSON's kinds; ``url`` for a text that is an address, and ``nothing`` for the elements
            of a list that was always empty.
        records: in how many records it stands, or around how many lists.
    """

    kinds: frozenset[str]
    records: int


Shape: TypeAlias = Mapping[str, Leaf]
"""Leaves by their path, with ``[]`` for an element of a list; that of an answer that is a list
itself begins with it."""


def shape_of(answers: Iterable[Any]) -> Shape:
    """The shape of these answers.

    A name that does not look like one is ``?``: it may be an identifier.

    Raises:
        DataContractError: one is nested too deeply, or they have too many fields.
    """
    kinds = defaultdict[str, set[str]](set)
    counts = Counter[str]()
    for answer in answers:
        seen = set[str]()
        for path, value in _leaves_of(answer):
            name = _safe_name(without_numbers(path) + ("[]" if value == [] else ""))
            kinds[name].add(_kind_of(value))
            record = path.partition("]")[0]
            if record + name not in seen:
                seen.add(record + name)
                counts[name] += 1
        if len(kinds) > FIELDS_MAX:
            raise DataContractError(f"an answer of more than {FIELDS_MAX} fields")
    return {name: Leaf(frozenset(kinds[name]), counts[name]) for name in kinds}


def _leaves_of(answer: Any) -> Iterable[tuple[str, Any]]:
    try:
        return [*leaves(answer)]
    except ContractError as error:
        raise DataContractError(f"an answer that is {error.message}") from None


def _safe_name(path: str) -> str:
    """``safe_path``, also for what stands in an answer that is a list itself."""
    before = path[: path.startswith("[]") * 3]
    return before + (safe_path(path[len(before) :]) if path[len(before) :] else "")


def _kind_of(value: Any) -> str:
    if isinstance(value, str) and value.startswith(("https://", "http://", "/")):
        return "url"
    return _KINDS[type(value)]


def lists_of(shape: Shape) -> list[str]:
    """The outermost lists of objects; those that were always empty count if there is no other."""
    full = {path.partition("[]")[0] for path in shape if "[]." in path}
    empty = (path for path, leaf in shape.items() if _EMPTY_LIST in leaf.kinds)
    return sorted(full or {path.partition("[]")[0] for path in empty})
