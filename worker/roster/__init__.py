"""The header and the rows of a roster, from a file, standard input or a database query."""

import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from decimal import Decimal
from typing import Final, TypeAlias

from worker.core.display import counted
from worker.core.identity import NationalId, is_h_number, normalise_off_id, off_id_problem
from worker.core.model import RosterEntry, RosterLineError
from worker.core.value import Value
from worker.errors import RosterError
from worker.masking import checksum_ok, masked

RosterLine: TypeAlias = RosterEntry | RosterLineError

LABEL_CHARACTERS_MAX: Final = 200
"""Maximum length of a ``local_ref`` and of a ``cohort``."""

STANDARD_INPUT: Final = "standard input"
_INPUT_HINT: Final = "give one 11-digit identifier per line, or CSV with a column off_id"
_NO_IDENTIFIER_HINT: Final = (
    "fix the roster at its source, then check it with `pts-worker doctor`, which starts no run; "
    "the log names each bad line (roster.line_unreadable)"
)
_SEPARATORS: Final = re.compile(r"[\s_\-]+")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


class Columns(Value, frozen=True, kw_only=True):
    """Positions of the roster's columns, and the names of ignored ones."""

    off_id: int
    local_ref: int | None
    cohort: int | None
    count: int
    unknown: tuple[str, ...]


def find_columns(names: Sequence[str], *, where: str, hint: str) -> Columns:
    """Find the roster's columns, ignoring case, spaces, ``_`` and ``-`` in their names.

    Raises:
        RosterError: there is no ``off_id``, or more than one. The message does not repeat the
            names, because without a header the first line is a person.
    """
    normalised = [_SEPARATORS.sub("", name).casefold() for name in names]
    count = normalised.count("offid")
    if count != 1:
        number = count or "none"
        columns = counted(len(names), "column")
        raise RosterError(f"{where} has {columns}, and {number} named off_id", hint=hint)
    off_id = normalised.index("offid")
    # Two columns with the name of an optional one are ambiguous, so both are ignored.
    local_ref, cohort = (
        normalised.index(name) if normalised.count(name) == 1 else None
        for name in ("localref", "cohort")
    )
    ignored = (name for i, name in enumerate(names) if i not in {off_id, local_ref, cohort})
    return Columns(
        off_id=off_id,
        local_ref=local_ref,
        cohort=cohort,
        count=len(names),
        unknown=tuple(masked(name.strip()) for name in ignored if name.strip()),
    )


async def require_identifier(
    lines: AsyncGenerator[RosterLine, None], name: str
) -> AsyncGenerator[RosterLine, None]:
    """Yield the lines unchanged. After the last one, check that a line had an identifier.

    Raises:
        RosterError: no line contains an identifier. The message has the first line's problem.
    """
    # Otherwise an empty file would count as a roster from which all persons are missing.
    has_entry, first_error = False, ""
    async with aclosing(lines):
        async for line in lines:
            if isinstance(line, RosterEntry):
                has_entry = True
            elif not first_error:
                first_error = f"; first error in {line.where}: {line.problem}"
            yield line
    if not has_entry:
        cause = first_error or ": it is empty, or has only a header"
        hint = _INPUT_HINT if name == STANDARD_INPUT else _NO_IDENTIFIER_HINT
        raise RosterError(f"{name} contains no identifier{cause}", hint=hint)


def line_from_texts(off_id: str, local_ref: str, cohort: str, *, where: str) -> RosterLine:
    """A roster entry, or a roster error, from unchecked text."""
    digits = normalise_off_id(off_id)
    if digits is None:
        problem = off_id_problem(off_id)
        if any(normalise_off_id(label) for label in (local_ref, cohort)):
            problem += "; local_ref or cohort contains one: are the columns swapped?"
        return RosterLineError(where=where, problem=problem)
    labels = {"local_ref": local_ref.strip(), "cohort": cohort.strip()}
    for name, label in labels.items():
        if problem := _label_problem(name, label):
            return RosterLineError(where=where, problem=problem)
    return RosterEntry(
        where=where,
        off_id=NationalId(digits),
        local_ref=labels["local_ref"] or None,
        cohort=labels["cohort"] or None,
        checksum_ok=checksum_ok(digits),
        is_h_number=is_h_number(digits),
    )


def _label_problem(name: str, label: str) -> str:
    if len(label) > LABEL_CHARACTERS_MAX:
        return f"{name} is longer than {LABEL_CHARACTERS_MAX} characters"
    # Most labels are printable, so the slower search is rare.
    if not label.isprintable() and _CONTROL.search(label):
        return f"{name} contains control characters"
    return ""


def line_from_values(
    off_id: object, local_ref: object, cohort: object, *, where: str
) -> RosterLine:
    """A roster entry, or a roster error, from a query's row.

    A number is not padded with zeros: 10 digits can be a lost zero or a typing error.
    """
    number = f"{off_id:f}" if isinstance(off_id, Decimal) else off_id
    texts = ("" if value is None else str(value) for value in (number, local_ref, cohort))
    return line_from_texts(*texts, where=where)
