"""The partial indexes of the version tables, for migrations and the test that compares them.

By themselves, because they make SQLAlchemy load the dialects of both databases; a run knows one.
"""

from sqlalchemy import ColumnElement, Index, Table

from worker.store.schema.tables import VERSIONS


def _add(table: Table, name: str, *columns: str, where: ColumnElement[bool], unique: bool) -> None:
    Index(
        f"{name.format(table.name)}",
        *(table.c[column] for column in columns),
        unique=unique,
        sqlite_where=where,
        postgresql_where=where,
    )


for _table in VERSIONS.values():
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
