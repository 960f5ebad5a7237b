"""What is asked of a database's own catalogues, as text.

Each statement is for one database and names its system tables and functions. SQLAlchemy does not
know these: each would have to be declared before it is asked once.
"""

from typing import Final

GRANTS: Final = """
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
"""PostgreSQL: the statements that grant again what others may do with a view."""
SNAPSHOTS: Final = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
    AND pid <> pg_backend_pid() AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)
"""
"""PostgreSQL: how many other transactions may still see rows that were deleted."""
FORGET_STATISTICS: Final = "DELETE FROM sqlite_stat1 WHERE idx = '{index}'"
"""SQLite: drop what the planner is given about an index."""
SET_STATISTICS: Final = "INSERT INTO sqlite_stat1 VALUES ('{table}', '{index}', '{rows}')"
"""SQLite: give it to the planner."""
