"""The partial indexes, for migrations and the test that compares them.

By themselves, because they make SQLAlchemy load the dialects of both databases; a run knows one.
"""

from sqlalchemy import ColumnElement, Index, Table, TextClause, text

from worker.areas import AREAS
from worker.store.schema.tables import VERSIONS, draft, person


def _add(
    table: Table, name: str, *columns: str, where: ColumnElement[bool] | TextClause, unique: bool
) -> None:
    Index(
        f"{name.format(table.name)}",
        *(table.c[column] for column in columns),
        unique=unique,
        sqlite_where=where,
        postgresql_where=where,
    )


_departed = person.c.departed_no.is_not(None)
# Of those who are here there are too many: SQLite would look through them in the index's order.
_add(person, "ix_{}_departed_no", "departed_no", where=_departed, unique=False)
_add(draft, "uq_{}_new", "run_id", "person_key", where=text("is_new"), unique=True)
for _area in AREAS:
    _table = VERSIONS[_area.name]
    _closed = _table.c.closed_no
    _open = _closed.is_(None)
    # SQLite reads all that is open in this order: by person, rows stand near one another.
    _add(_table, "uq_{}_open", "person_id", "restriction_id", where=_open, unique=True)
    _add(_table, "ix_{}_closed_no", "closed_no", where=_closed.is_not(None), unique=False)
