# ruff: noqa: S608 - the texts in these statements are declared, and the numbers are the store's own
"""What a publication says in numbers, written in its transaction and never changed afterwards.

Per code: what stands, what is in effect at the publication's instant, what came, changed and went.
Per publication: who is on the roster, confirmed, stale, failing, new and gone. The numbers are the
last publication's and what is different for persons that this one touches, so that a night costs by
what it changes. They are counted from all rows where there is no such base: at first, and after
rows of a published state were erased or rewritten (``leave_base``).
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, false, insert, select, text, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.areas import AREAS
from worker.areas.codes import group_of
from worker.core.area import ResourceArea
from worker.core.effect import in_effect_sql, instant_sql
from worker.core.model import FailureKind, RunKind
from worker.store.runs.feed import write_feed
from worker.store.schema.tables import TOTALS, publication, publication_code, run

ZONE: Final = ZoneInfo("Europe/Oslo")
OTHER: Final = "other"
"""The code of all that does not look like one: text of PTS's does not stand in facts for ever."""

_CODE: Final = re.compile(r"[A-Za-z][\w.-]{0,31}", re.ASCII)
_DIGITS_MAX: Final = 4
_STANDING: Final = ("open", "in_effect", "persons", "persons_in_effect")
_CHANGES: Final = {"insert": "added", "update": "changed", "close": "removed"}

_Key: TypeAlias = tuple[str, str, str]
"""Area, code and level."""
_Counts: TypeAlias = dict[_Key, dict[str, int]]


def record_publication(
    connection: Connection, run_id: int, *, returned: int = 0, is_back_filled: bool = False
) -> None:
    """Write the facts and the feed of a run that was published just now.

    Args:
        connection: in the transaction of the publication.
        run_id: the run, which has its number and instant.
        returned: departed persons who are on the roster again.
        is_back_filled: it was published by a program that wrote no facts. Then the roster is known
            from the run's totals alone.
    """
    row = connection.execute(select(run).where(run.c.run_id == run_id)).one()
    number = row.publication_no
    base = _base(connection, number)
    now = _Moment(run_id=run_id, number=number, at=row.published_at)
    feed_from = write_feed(connection, run_id=run_id, number=number, at=row.published_at)
    counts = _counts(connection, now, base)
    if any(value < 0 for values in counts.values() for value in values.values()):
        base, counts = None, _counts(connection, now, None)
    _add_changes(connection, counts, feed_from)
    rows = [
        {
            "publication_no": number,
            "area": area,
            "code": code,
            "level": level,
            "restriction_group": _group(area, code),
            **values,
        }
        for (area, code, level), values in sorted(counts.items())
        if any(values.values())
    ]
    if rows:
        connection.execute(insert(publication_code), rows)
    totals = {name: getattr(row, name) for name in TOTALS}
    people = (
        _people_of_old(row.kind, totals)
        if is_back_filled
        else _people(connection, row.kind, row.areas, totals) | _failed(connection)
    )
    joined = _one(connection, f"SELECT COUNT(*) FROM person WHERE first_run = {run_id}")
    connection.execute(
        insert(publication).values(
            publication_no=number,
            run_id=run_id,
            kind=row.kind,
            published_at=row.published_at,
            day=row.published_at.astimezone(ZONE).date().isoformat(),
            departed=row.persons_departed,
            joined=joined + returned,
            persons_in_effect=_persons_in_effect(connection, now, base),
            is_base=True,
            **people,
        )
    )


async def leave_base(connection: AsyncConnection) -> None:
    """Let the next publication count from all rows: some of the published state have changed."""
    await connection.execute(
        update(publication).where(publication.c.is_base == true()).values(is_base=false())
    )


def back_fill(connection: Connection) -> None:
    """Write the facts of publications that have none: those before the facts were kept."""
    missing = connection.execute(
        select(run.c.run_id)
        .where(
            run.c.publication_no.is_not(None),
            run.c.publication_no.not_in(select(publication.c.publication_no)),
        )
        .order_by(run.c.publication_no)
    )
    for run_id in missing.scalars().all():
        record_publication(connection, run_id, is_back_filled=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moment:
    """A publication: its run, number and instant."""

    run_id: int
    number: int
    at: datetime


def _base(connection: Connection, number: int) -> _Moment | None:
    """The publication before, if what it says still is what stands in the rows."""
    row = connection.execute(
        select(publication)
        .where(publication.c.publication_no < number)
        .order_by(publication.c.publication_no.desc())
        .limit(1)
    ).one_or_none()
    if row is None or not row.is_base:
        return None
    return _Moment(run_id=row.run_id, number=row.publication_no, at=row.published_at)


def _counts(connection: Connection, now: _Moment, base: _Moment | None) -> _Counts:
    """What stands, counted on from the base; without one, from all rows."""
    counts: _Counts = defaultdict(lambda: dict.fromkeys((*_STANDING, *_CHANGES.values()), 0))
    touched = ""
    if base is not None:
        touched = _touched(now, base)
        said = select(publication_code).where(publication_code.c.publication_no == base.number)
        for row in connection.execute(said):
            for name in _STANDING:
                counts[row.area, row.code, row.level][name] = getattr(row, name)
    parts = [_standing(area, now, touched, 1) for area in AREAS]
    if base is not None:
        parts += [_standing(area, base, touched, -1) for area in AREAS]
    for area, code, level, sign, *numbers in connection.exec_driver_sql(" UNION ALL ".join(parts)):
        values = counts[area, _as_code(code), _as_code(level)]
        for name, value in zip(_STANDING, numbers, strict=True):
            values[name] += sign * int(value)
    return counts


def _standing(area: ResourceArea, moment: _Moment, touched: str, sign: int) -> str:
    """What stands at a publication by code and level, of all persons or of those touched."""
    does = in_effect_sql(area.effect, "v", instant_sql(moment.at))
    return (
        f"SELECT '{area.name}', code, level, {sign}, SUM(amount), SUM(does), COUNT(*), "
        "SUM(CASE WHEN does > 0 THEN 1 ELSE 0 END) FROM ("
        f"SELECT {_code_columns(area)}, v.person_id, COUNT(*) AS amount, "
        f"SUM(CASE WHEN {does} THEN 1 ELSE 0 END) AS does FROM {_published(area, moment)}{touched} "
        "GROUP BY 3, 1, 2) AS persons GROUP BY code, level"
    )


def _persons_in_effect(connection: Connection, now: _Moment, base: _Moment | None) -> int:
    """Persons with a restriction in effect, whatever its area."""
    if base is None:
        return _one(connection, f"SELECT {_holders(now, '')}")
    touched = _touched(now, base)
    return _one(
        connection,
        f"SELECT persons_in_effect + {_holders(now, touched)} - {_holders(base, touched)} "
        f"FROM publication WHERE publication_no = {base.number}",
    )


def _holders(moment: _Moment, touched: str) -> str:
    parts = [
        f"SELECT v.person_id FROM {_published(area, moment)} "
        f"AND {in_effect_sql(area.effect, 'v', instant_sql(moment.at))}{touched}"
        for area in AREAS
    ]
    return f"(SELECT COUNT(*) FROM ({' UNION '.join(parts)}) AS holders)"


def _published(area: ResourceArea, moment: _Moment) -> str:
    """The rows of an area that readers saw at a publication."""
    return (
        f"{area.table}_version v "
        f"JOIN run o ON o.run_id = v.opened_run AND o.publication_no <= {moment.number} "
        "LEFT JOIN run c ON c.run_id = v.closed_run "
        f"WHERE (c.publication_no IS NULL OR c.publication_no > {moment.number})"
    )


def _touched(now: _Moment, base: _Moment) -> str:
    """A condition: something of the person came, went, began or ended since the base."""
    parts = []
    for area in AREAS:
        table = f"{area.table}_version"
        parts += [
            f"SELECT person_id FROM {table} WHERE {column} = {now.run_id}"
            for column in ("opened_run", "closed_run")
        ]
        parts += [
            f"SELECT person_id FROM {table} WHERE {column} > {instant_sql(base.at)} "
            f"AND {column} <= {instant_sql(now.at)}"
            for column in (area.effect.begins, area.effect.ends)
            if column
        ]
    return f" AND v.person_id IN ({' UNION '.join(parts)})"


def _add_changes(connection: Connection, counts: _Counts, feed_from: int) -> None:
    """What came, changed and went, of the feed's rows behind that number."""
    parts = [
        f"SELECT '{area.name}', f.op, {_code_columns(area)}, COUNT(*) FROM change_feed f "
        f"JOIN {area.table}_version v ON v.version_id = f.version_id "
        f"WHERE f.seq > {feed_from} AND f.area = '{area.name}' GROUP BY 2, 3, 4"
        for area in AREAS
    ]
    for area, op, code, level, amount in connection.exec_driver_sql(" UNION ALL ".join(parts)):
        counts[area, _as_code(code), _as_code(level)][_CHANGES[op]] += amount


def _code_columns(area: ResourceArea) -> str:
    level = f"v.{area.effect.level}" if area.effect.level else "''"
    return f"COALESCE(v.{area.effect.code}, '') AS code, COALESCE({level}, '') AS level"


def _as_code(value: str) -> str:
    """The code if it looks like one."""
    is_code = not value or (
        _CODE.fullmatch(value) is not None and sum(map(str.isdigit, value)) <= _DIGITS_MAX
    )
    return value if is_code else OTHER


def _group(area_name: str, code: str) -> str | None:
    (area,) = (area for area in AREAS if area.name == area_name)
    return group_of(area.effect, code)


def _people(
    connection: Connection, kind: str, areas: str, totals: Mapping[str, int]
) -> dict[str, int]:
    """Persons on the roster, with everything confirmed, and with something that is not.

    A full run that has tried everybody has counted them.
    """
    if kind == RunKind.SYNC and all(f'"{area.name}"' in areas for area in AREAS):
        found = _people_of_old(kind, totals)
        here = _one(connection, "SELECT COUNT(*) FROM person WHERE departed_run IS NULL")
        if here == found["roster"]:
            return found
    roster, stale = connection.exec_driver_sql(_roster_sql(connection)).one()
    return {"roster": roster, "confirmed": roster - int(stale or 0), "stale": int(stale or 0)}


def _roster_sql(connection: Connection) -> str:
    """Persons, and those with a stale area, as ``report_person_freshness`` has them."""
    last = {
        area.name: _one(
            connection,
            "SELECT COALESCE(MAX(publication_no), 0) FROM run WHERE kind = 'sync' "
            f"AND areas LIKE '%\"{area.name}\"%'",
        )
        for area in AREAS
    }
    cases = " ".join(f"WHEN '{area}' THEN {number}" for area, number in last.items())
    return (
        "SELECT COUNT(*), SUM(stale) FROM (SELECT pa.person_id, MAX(CASE "
        "WHEN pr.publication_no IS NOT NULL AND pa.is_complete "
        f"AND pr.publication_no >= CASE pa.area {cases} ELSE 0 END THEN 0 "
        "WHEN pr.publication_no IS NULL AND pa.prev_is_complete "
        f"AND pp.publication_no >= CASE pa.area {cases} ELSE 0 END THEN 0 ELSE 1 END) AS stale "
        "FROM person_area pa JOIN run pr ON pr.run_id = pa.run_id "
        "LEFT JOIN run pp ON pp.run_id = pa.prev_run_id "
        "JOIN person p ON p.person_id = pa.person_id AND p.departed_run IS NULL "
        "WHERE pr.publication_no IS NOT NULL OR pa.prev_run_id IS NOT NULL "
        "GROUP BY pa.person_id) AS persons"
    )


def _people_of_old(kind: str, totals: Mapping[str, int]) -> dict[str, int]:
    """The same of a full run's totals; of a subset's nothing is known."""
    if kind != RunKind.SYNC:
        return {}
    return {
        "roster": totals["persons_total"] - totals["persons_departed"],
        "confirmed": totals["persons_complete"],
        "stale": totals["persons_stale"],
    }


def _failed(connection: Connection) -> dict[str, int]:
    """Persons on the roster with an area that fails, by the kind of failure."""
    rows = connection.execute(
        text(
            "SELECT f.kind, COUNT(DISTINCT f.person_id) FROM failure f "
            "JOIN person p ON p.person_id = f.person_id AND p.departed_run IS NULL GROUP BY f.kind"
        )
    )
    found = {kind: int(amount) for kind, amount in rows.all()}
    return {f"failed_{kind}": found.get(kind, 0) for kind in FailureKind}


def _one(connection: Connection, sql: str) -> int:
    found: int = connection.exec_driver_sql(sql).scalar_one()
    return found
