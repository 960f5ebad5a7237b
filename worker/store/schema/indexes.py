"""The partial indexes, for migrations and the test that compares them.

By themselves, because they make SQLAlchemy load the dialects of both databases; a run knows one.
"""

from sqlalchemy import ColumnElement, Index, Table

from worker.areas import AREAS
from worker.store.schema.tables import VERSIONS, person


def _add(table: Table, name: str, *columns: str, where: ColumnElement[bool], unique: bool) -> None:
    Index(
        f"{name.format(table.name)}",
        *(table.c[column] for column in columns),
        unique=unique,
        sqlite_where=where,
        postgresql_where=where,
    )


_departed = person.c.departed_run.is_not(None)
# Of those who are here there are too many: SQLite would look through them in the index's order.
_add(person, "ix_{}_departed_run", "departed_run", where=_departed, unique=False)
for _area in AREAS:
    _table = VERSIONS[_area.name]
    for _name in filter(None, (_area.effect.begins, _area.effect.ends)):
        _dated = _table.c[_name].is_not(None)
        _add(_table, f"ix_{{}}_{_name}", _name, where=_dated, unique=False)
    _closed = _table.c.closed_run
    _add(_table, "uq_{}_open", "restriction_id", "person_id", where=_closed.is_(None), unique=True)
    _add(
        _table,
        "ix_{}_closed_run",
        "closed_run",
        "restriction_id",
        where=_closed.is_not(None),
        unique=False,
    )
