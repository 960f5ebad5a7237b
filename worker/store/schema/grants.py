"""Keeps what readers were granted on the reporting views while ``db upgrade`` makes them anew."""

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, text

from worker.store.catalogues import GRANTS


def grants_on(connection: Connection, views: Iterable[str]) -> Sequence[str]:
    """The GRANT statements that give others again what they may do with these views.

    On PostgreSQL alone; a view that does not exist yet has none. Its owner needs no grant.
    """
    return [
        statement
        for view in views
        for statement in connection.execute(text(GRANTS), {"view": view}).scalars()
    ]
