"""Fills in the statements of ``statements.py``: an area's names, the store's numbers and times.

``{area}`` is an area's name, ``{a}`` the stem of its columns in ``draft`` and ``person``,
``{versions}`` and ``{changes}`` its tables, and ``{content}`` its columns in both.
"""

import re
from collections.abc import Mapping
from functools import cache
from typing import Final

from worker.core.area import AREAS, ResourceArea
from worker.core.effect import ends_at_sql, group_sql, in_effect_sql
from worker.views import codes, systems_of

OTHER: Final = "other"
"""All codes, causes and cohorts that facts do not name, because they stay for ever."""
_REPEATED: Final = re.compile(r"\[\[(.*?)\]\]", re.DOTALL)


def filled(statement: str, area: ResourceArea | None = None, **values: object) -> str:
    """The statement for one area, or for all, with these names in braces filled in.

    In a statement of all areas, what stands between ``[[`` and ``]]`` is repeated for each.
    """
    text = _of_all(statement) if area is None else of_area(statement, area)
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", str(value))
    return text


def _of_all(statement: str) -> str:
    return _REPEATED.sub(
        lambda found: "".join(of_area(found[1], area) for area in AREAS), statement
    )


def of_area(statement: str, area: ResourceArea) -> str:
    """The statement for one area; braces that are not the area's stay."""
    for name, value in _said_of(area).items():
        statement = statement.replace(f"{{{name}}}", value)
    return statement


@cache
def _said_of(area: ResourceArea) -> Mapping[str, str]:
    """What stands in the statements of an area for each name in braces."""
    return {
        "area": area.name,
        "a": area.table,
        "versions": f"{area.table}_version",
        "changes": f"draft_{area.table}",
        "content": ", ".join([*(column.name for column in area.columns), "extra"]),
        "in_effect": in_effect_sql(area.effect, "v", "{at}"),
        **_times(area),
        **_codes(area),
    }


def _codes(area: ResourceArea) -> dict[str, str]:
    """The columns by which facts count a row ``v`` of the area's versions; empty if it has none."""
    effect = area.effect
    return {
        "code": _known(effect.code),
        "level": _known(effect.level),
        "cause": _known(effect.cause),
        "group": f"COALESCE({group_sql(effect, 'v')}, '')",
    }


def _known(column: str) -> str:
    """What facts have of a column: no text of PTS's that could name somebody may stay for ever.

    This happens in SQL, before persons are counted: somebody with two unknown codes is one person
    with another code.
    """
    if not column:
        return "''"
    systems, text = systems_of(column), f"v.{column}"
    known = ", ".join(f"'{one.code}'" for one in codes() if one.system in systems)
    return (
        f"CASE WHEN {text} IN ({known}) THEN {text} WHEN COALESCE({text}, '') = '' THEN '' "
        f"ELSE '{OTHER}' END"
    )


_AGES: Final = (30, 182, 365)
"""The days that divide ages: up to a month, half a year, a year, and more."""
_ENDS: Final = (7, 30, 90, 365)
"""The days that divide ends to come."""
DAYS_APART: Final = (*(-days for days in _AGES), *_ENDS)
"""The days from a publication to the instants that stand in its statements as ``{at-30}``."""


def _times(area: ResourceArea) -> dict[str, str]:
    """The columns by which figures divide a row ``v`` by times: codes of ``report_code``.

    What is not over has no place in ``expired``.
    """
    over = ends_at_sql(area.effect, "v")
    ended = f"{over} <= {{at}} AND COALESCE({group_sql(area.effect, 'v')}, '') <> 'none'"
    ends = "".join(f" WHEN {over} <= {{at+{days}}} THEN 'ends_{days}'" for days in _ENDS)
    return {
        "age": _age("v.source_created_at"),
        "ends": f"CASE WHEN {over} IS NULL THEN 'ends_never'{ends} ELSE 'ends_later' END",
        "expired": f"CASE WHEN {ended} THEN {_age(over)} END",
        "has_cause": "true" if area.effect.cause else "false",
    }


def _age(since: str) -> str:
    ages = "".join(f" WHEN {since} > {{at-{days}}} THEN 'age_{days}'" for days in _AGES)
    return f"CASE WHEN {since} IS NULL THEN 'age_unknown'{ages} ELSE 'age_more' END"
