"""Keeps what readers were granted on the reporting views while ``db upgrade`` makes them anew."""

from collections.abc import Iterable, Sequence
from typing import Final

from sqlalchemy import Connection, text

_GRANTED: Final = text(
    """
    SELECT 'GRANT ' || a.privilege_type || g.part || ' ON ' || c.relname || ' TO '
        || CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END
        || CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
    FROM pg_class c
    CROSS JOIN LATERAL (
        SELECT '', c.relacl
        UNION ALL
        SELECT '(' || quote_ident(attname) || ')', attacl
        FROM pg_attribute
        WHERE attrelid = c.oid AND attacl IS NOT NULL
    ) g(part, acl)
    CROSS JOIN LATERAL aclexplode(g.acl) a
    WHERE c.oid = to_regclass(:view) AND a.grantee <> c.relowner
    ORDER BY 1
    """
)


def grants_on(connection: Connection, views: Iterable[str]) -> Sequence[str]:
    """The GRANT statements that give others again what they may do with these views.

    On PostgreSQL alone; a view that does not exist yet has none. Its owner needs no grant.
    """
    return [
        statement
        for view in views
        for statement in connection.execute(_GRANTED, {"view": view}).scalars()
    ]
