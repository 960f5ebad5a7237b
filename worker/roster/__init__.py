"""The roster, from a file, standard input or a database query: its header and its rows."""

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Final, TypeAlias

from worker import offid
from worker.core.display import counted
from worker.core.identity import NationalId
from worker.core.model import RosterEntry, RosterLineError
from worker.core.value import Value
from worker.errors import RosterError

RosterLine: TypeAlias = RosterEntry | RosterLineError

LABEL_CHARACTERS_MAX: Final = 200
"""Of a ``local_ref``, and of a ``cohort``."""

_SEPARATORS: Final = re.compile(r"[\s_\-]+")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


class Columns(Value, frozen=True, kw_only=True):
    """Positions of the roster's columns."""

    off_id: int
    local_ref: int | None
    cohort: int | None
    count: int


def find_columns(names: Sequence[str], *, where: str, hint: str) -> Columns:
    """Find our columns among the names, ignoring case, spaces, ``_`` and ``-``.

    Raises:
        RosterError: there is no ``off_id``, or more than one. The message repeats no name: without
            a header, the first line is a person.
    """
    plain = [_SEPARATORS.sub("", name).casefold() for name in names]
    found = plain.count("offid")
    if found != 1:
        number = found or "none"
        columns = counted(len(names), "column")
        raise RosterError(f"{where} has {columns}, and {number} named off_id", hint=hint)
    local_ref, cohort = (
        plain.index(name) if plain.count(name) == 1 else None for name in ("localref", "cohort")
    )
    return Columns(
        off_id=plain.index("offid"), local_ref=local_ref, cohort=cohort, count=len(names)
    )


def read_text(off_id: str, local_ref: str | None, cohort: str | None, *, where: str) -> RosterLine:
    """A roster entry, or a roster error, from unchecked text."""
    digits = offid.normalise(off_id)
    if digits is None:
        return RosterLineError(where=where, problem=offid.problem(off_id))
    labels = {"local_ref": (local_ref or "").strip(), "cohort": (cohort or "").strip()}
    for name, label in labels.items():
        if problem := _label_problem(name, label):
            return RosterLineError(where=where, problem=problem)
    return RosterEntry(
        off_id=NationalId(digits),
        local_ref=labels["local_ref"] or None,
        cohort=labels["cohort"] or None,
        checksum_ok=offid.checksum_ok(digits),
        is_h_number=offid.is_h_number(digits),
    )


def _label_problem(name: str, label: str) -> str:
    if len(label) > LABEL_CHARACTERS_MAX:
        return f"{name} is longer than {LABEL_CHARACTERS_MAX} characters"
    if not label.isprintable() and _CONTROL.search(label):
        return f"{name} contains control characters"
    return ""


def read_value(off_id: object, local_ref: object, cohort: object, *, where: str) -> RosterLine:
    """A roster entry, or a roster error, from a query's row.

    Integers are accepted if they have 11 digits, so no leading zero was lost.
    """
    problem = ""
    if isinstance(off_id, (int, Decimal)) and not isinstance(off_id, bool):
        off_id = f"{off_id:f}" if isinstance(off_id, Decimal) else str(off_id)
        if offid.normalise(off_id) is None:
            problem = (
                f"the identifier is a number without {offid.LENGTH} digits, so leading zeros may "
                "be lost; cast the column to text in the query"
            )
    elif off_id is None:
        problem = "the identifier is empty (NULL)"
    elif not isinstance(off_id, str):
        problem = f"the identifier is of type {type(off_id).__name__}; cast it to text in the query"
    if problem or not isinstance(off_id, str):
        return RosterLineError(where=where, problem=problem)
    labels = [None if label is None else str(label) for label in (local_ref, cohort)]
    return read_text(off_id, *labels, where=where)
