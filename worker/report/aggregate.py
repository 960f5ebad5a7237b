"""The facts of publications for readers who may not see persons: small numbers are hidden.

A hidden number is empty, and the column ``hidden`` names it. It does not show which numbers are
small and which are hidden because of them.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.areas.meanings import Kind
from worker.core.model import FailureKind
from worker.core.small_numbers import Cell, Equation, Mark, hide
from worker.report.selection import order_of
from worker.views import COHORT, DAILY, PUBLICATION, View

HIDDEN: Final = "hidden"

_FAILED: Final = tuple(f"failed_{kind}" for kind in FailureKind)
_SUBJECTS: Final[Mapping[str, Sequence[Sequence[str]]]] = {
    DAILY.name: (
        ("open", "persons"),
        ("in_effect", "persons_in_effect"),
        ("added", "changed", "removed"),
    ),
    **dict.fromkeys(
        (PUBLICATION.name, COHORT.name),
        (
            ("roster",),
            ("confirmed", "stale"),
            ("joined", "departed"),
            ("persons_in_effect",),
            *((name,) for name in _FAILED),
        ),
    ),
}
"""Columns of each view that are hidden together, because one reveals the other."""
_ADDED: Final = ("roster", "stale", "joined", "departed", "persons_in_effect", *_FAILED)
"""Columns of persons that are, in a publication, the sum of its cohorts."""
_CELL: Final = ("area", "code", "level", "cause", "cohort")
_FLOWS: Final[Mapping[str, Sequence[str]]] = {
    "roster": ("confirmed", "joined"),
    "open": ("added",),
}
"""Subjects that are hidden beside a hidden number; the last, what came and went, also in the next
publication: from the other number of the two they would say what it is."""

FACTS: Final = tuple(
    View(name=view.name, added={HIDDEN: Kind.TEXT}) for view in (DAILY, PUBLICATION, COHORT)
)
"""The views of the facts, with a column that names what is hidden of a row."""

_Rows = Mapping[str, Sequence[Mapping[str, Any]]]
"""Rows by view."""


async def facts_by_publication(
    connection: AsyncConnection, *, least: int
) -> AsyncIterator[dict[str, list[tuple[Any, ...]]]]:
    """The rows of ``FACTS`` by view, one publication after the other.

    Args:
        least: numbers of fewer persons are hidden; 0 hides none.
    """
    publication = PUBLICATION.table()
    numbers = select(publication.c.publication_no).order_by(publication.c.publication_no)
    before: frozenset[Any] = frozenset()
    for number in (await connection.execute(numbers)).scalars().all():
        rows = {}
        for view in (DAILY, PUBLICATION, COHORT):
            table = view.table()
            found = await connection.execute(
                select(table)
                .where(table.c.publication_no == number)
                .order_by(*order_of(view, table, connection.dialect.name))
            )
            rows[view.name] = [dict(row) for row in found.mappings()]
        hidden, before = hidden_of(rows, least=least, before=before)
        yield {
            view: [_masked(row, hidden.get((view, place), ())) for place, row in enumerate(found)]
            for view, found in rows.items()
        }


def _masked(row: Mapping[str, Any], hidden: Iterable[str]) -> tuple[Any, ...]:
    names = [name for name in row if name in hidden]
    return (*(None if name in names else value for name, value in row.items()), " ".join(names))


def hidden_of(
    rows: _Rows, *, least: int, before: frozenset[Any] = frozenset()
) -> tuple[dict[tuple[str, int], set[str]], frozenset[Any]]:
    """The hidden columns of a publication's rows, by view and place, and for the next one.

    Args:
        least: numbers of fewer persons are hidden.
        before: what the publication before gave as second: the rosters and open restrictions that
            it hid. The next ones, and what came and went in between, would say what they were.
    """
    forced: frozenset[Any] = frozenset()
    while True:
        hidden = _hidden(rows, least, before=before, forced=forced)
        standing = frozenset(
            _whose(view, rows[view][place])
            for (view, place), names in hidden.items()
            if not names.isdisjoint(_FLOWS)
        )
        if standing <= forced:
            return hidden, standing
        forced |= standing


def _hidden(
    rows: _Rows, least: int, *, before: frozenset[Any], forced: frozenset[Any]
) -> dict[tuple[str, int], set[str]]:
    """The same, where what came and went is hidden of ``forced`` and ``before`` too."""
    cells: dict[Any, Cell] = {}
    for view, found in rows.items():
        for place, row in enumerate(found):
            whose = _whose(view, row)
            also: set[str] = set()
            for names in _FLOWS.values():
                also |= set(names if whose in forced else names[-1:] if whose in before else ())
            _add(cells, view, place, row, also)
    equations = list(_equations(rows, cells))
    hidden: dict[tuple[str, int], set[str]] = {}
    marks: Mapping[Any, Mark] = hide(cells, equations, least=least, names_small=False)
    for view, place, name in marks:
        hidden.setdefault((view, place), set()).add(name)
    return hidden


def _whose(view: str, row: Mapping[str, Any]) -> tuple[str, ...]:
    return view, *(row.get(name, "") for name in _CELL)


def _add(
    cells: dict[Any, Cell], view: str, place: int, row: Mapping[str, Any], also: set[str]
) -> None:
    """The cells of a row; ``also`` names the subjects that are hidden whatever their numbers.

    Where all that is open is in effect, a reader may know that it always is: one subject.
    """
    same = {"in_effect": "open"} if row.get("open") == row.get("in_effect") else {}
    for names in _SUBJECTS[view]:
        for name in names:
            if row[name] is not None:
                cells[view, place, name] = Cell(
                    value=row[name],
                    persons=1 if names[0] in also else None,
                    subject=(view, place, same.get(names[0], names[0])),
                    weight=int(view == PUBLICATION.name),
                )


def _equations(rows: _Rows, cells: dict[Any, Cell]) -> Iterable[Equation]:
    """What is known to add up, and what is known to be no more than something else.

    Persons of a cohort are on its roster; they are no more than those of all its rows together, and
    no fewer than those of one. Where nobody is in two rows, a reader may know that too.
    """
    cohorts = rows[COHORT.name]
    for name in _ADDED:
        total = (PUBLICATION.name, 0, name)
        parts = [(COHORT.name, place, name) for place in range(len(cohorts))]
        if parts and all(key in cells for key in (total, *parts)):
            yield {total: -1} | dict.fromkeys(parts, 1)
    rows_of: dict[str, list[Any]] = {}
    for place, row in enumerate(rows[DAILY.name]):
        if row["persons_in_effect"]:
            key = (DAILY.name, place, "persons_in_effect")
            rows_of.setdefault(row["cohort"], []).append(key)
    for place, cohort in enumerate(cohorts):
        persons = (COHORT.name, place, "persons_in_effect")
        held = rows_of.get(cohort["cohort"], [])
        if held and sum(cells[part].value for part in held) == cohort["persons_in_effect"]:
            yield {persons: -1} | dict.fromkeys(held, 1)
        elif held:
            yield _at_most(cells, persons, *held)
        if (COHORT.name, place, "roster") in cells:
            yield _at_most(cells, persons, (COHORT.name, place, "roster"))
        for part in held:
            yield _at_most(cells, part, persons)


def _at_most(cells: dict[Any, Cell], smaller: Any, *parts: Any) -> Equation:
    """That a number is no more than the sum of others; the rest stands in no table."""
    rest = (*smaller, *parts)
    over = sum(cells[part].value for part in parts) - cells[smaller].value
    cells[rest] = Cell(value=max(over, 0), is_shown=False)
    return {smaller: -1, rest: -1} | dict.fromkeys(parts, 1)
