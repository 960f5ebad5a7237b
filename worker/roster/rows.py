"""What a header and a row mean, whatever they were read from."""

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Final, TypeAlias

from worker.core import offid
from worker.core.identity import NationalId
from worker.core.model import RosterEntry, RosterLineError
from worker.core.value import Value
from worker.errors import RosterError

Line: TypeAlias = RosterEntry | RosterLineError

LOCAL_REF_CHARACTERS_MAX: Final = 200

_COLUMNS_SHOWN_MAX: Final = 20
_SEPARATORS: Final = re.compile(r"[\s_\-]+")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_MANY_DIGITS: Final = re.compile(r"\d{6}")


class Columns(Value, frozen=True, kw_only=True):
    """Where the two columns stand.

    Attributes:
        off_id: the index of ``off_id``.
        local_ref: the index of ``local_ref``, if there is one.
        count: how many columns there are.
    """

    off_id: int
    local_ref: int | None
    count: int


def find_columns(names: Sequence[str], *, where: str, hint: str) -> Columns:
    """Find ``off_id`` and ``local_ref`` among column names; case, blanks, ``_`` and ``-`` aside.

    Raises:
        RosterError: there is no ``off_id``, or more than one. Column names are listed, except such
            as hold many digits, since a file without a header has identifiers in that place.
    """
    plain = [_SEPARATORS.sub("", name).casefold() for name in names]
    if plain.count("offid") != 1:
        many = "offid" in plain
        problem = "more than one column off_id" if many else "no column off_id"
        shown = [_shown_name(name) for name in names[:_COLUMNS_SHOWN_MAX]]
        found = ", ".join(shown) + (", …" if len(names) > len(shown) else "")
        raise RosterError(f"{where} has {problem}; the columns are: {found}", hint=hint)
    local_ref = plain.index("localref") if plain.count("localref") == 1 else None
    return Columns(off_id=plain.index("offid"), local_ref=local_ref, count=len(names))


def _shown_name(name: str) -> str:
    if _MANY_DIGITS.search(re.sub(r"\W", "", name)):
        return "(a name of many digits)"
    return _CONTROL.sub("?", name.strip())[:40] or "(empty)"


def read_text(off_id: str, local_ref: str | None, *, source: str, unit: str, number: int) -> Line:
    """An entry from text, or the fault that keeps it from being one.

    Args:
        off_id: the identifier as it stands there.
        local_ref: the local reference as it stands there.
        source: the file or query, for the fault.
        unit: ``line`` or ``row``.
        number: of the line or row, from 1.
    """
    digits = offid.normalise(off_id)
    if digits is None:
        return RosterLineError(where=f"{source} {unit} {number}", problem=offid.problem(off_id))
    reference = local_ref.strip() if local_ref else None
    if reference:
        problem = _reference_problem(reference)
        if problem:
            return RosterLineError(where=f"{source} {unit} {number}", problem=problem)
    return RosterEntry(
        off_id=NationalId(digits),
        local_ref=reference or None,
        checksum_ok=offid.checksum_ok(digits),
        is_h_number=offid.is_h_number(digits),
    )


def _reference_problem(reference: str) -> str:
    if len(reference) > LOCAL_REF_CHARACTERS_MAX:
        return f"local_ref is longer than {LOCAL_REF_CHARACTERS_MAX} characters"
    if not reference.isprintable() and _CONTROL.search(reference):
        return "local_ref holds control characters"
    return ""


def read_value(off_id: object, local_ref: object, *, source: str, number: int) -> Line:
    """An entry from a query's row. Whole numbers serve if no leading zero can have been lost."""
    problem = ""
    if isinstance(off_id, (int, Decimal)) and not isinstance(off_id, bool):
        off_id = f"{off_id:f}" if isinstance(off_id, Decimal) else str(off_id)
        if offid.normalise(off_id) is None:
            problem = (
                f"the identifier came as a number and not of {offid.LENGTH} digits, so leading "
                "zeros are lost; cast the column to text in the query"
            )
    elif off_id is None:
        problem = "the identifier is empty (NULL)"
    elif not isinstance(off_id, str):
        problem = f"the identifier came as {type(off_id).__name__}; cast it to text in the query"
    if problem or not isinstance(off_id, str):
        return RosterLineError(where=f"{source} row {number}", problem=problem)
    reference = None if local_ref is None else str(local_ref)
    return read_text(off_id, reference, source=source, unit="row", number=number)
