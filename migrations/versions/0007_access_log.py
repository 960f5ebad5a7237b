"""Who looked at whom: a table that only grows, and the triggers that keep it so.

A row may go when it is older than ``KEPT_DAYS``, which ``retention.access_log`` cannot be below:
so retention needs no way around the triggers. SQLite's REPLACE deletes without asking a trigger,
so a row number that exists is refused as well.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
KEPT_DAYS = 90
SQLITE = (
    """
    CREATE TRIGGER access_log_no_update BEFORE UPDATE ON access_log
    BEGIN SELECT RAISE(ABORT, 'access_log is append-only'); END
    """,
    f"""
    CREATE TRIGGER access_log_no_delete BEFORE DELETE ON access_log
    WHEN OLD.accessed_at > strftime('%Y-%m-%dT%H:%M:%f', 'now', '-{KEPT_DAYS} days')
    BEGIN SELECT RAISE(ABORT, 'access_log is append-only'); END
    """,
    """
    CREATE TRIGGER access_log_no_replace BEFORE INSERT ON access_log
    WHEN EXISTS (SELECT 1 FROM access_log WHERE access_id = NEW.access_id)
    BEGIN SELECT RAISE(ABORT, 'access_log is append-only'); END
    """,
)
POSTGRESQL = (
    f"""
    CREATE FUNCTION access_log_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'DELETE' THEN
            IF OLD.accessed_at <= clock_timestamp() - interval '{KEPT_DAYS} days' THEN
                RETURN OLD;
            END IF;
        END IF;
        RAISE EXCEPTION 'access_log is append-only' USING ERRCODE = 'restrict_violation';
    END $$
    """,
    """
    CREATE TRIGGER access_log_no_change BEFORE UPDATE OR DELETE ON access_log
    FOR EACH ROW EXECUTE FUNCTION access_log_refuse()
    """,
    """
    CREATE TRIGGER access_log_no_truncate BEFORE TRUNCATE ON access_log
    FOR EACH STATEMENT EXECUTE FUNCTION access_log_refuse()
    """,
)


def _is_sqlite():
    return op.get_bind().dialect.name == "sqlite"


def upgrade() -> None:
    op.create_table(
        "access_log",
        sa.Column("access_id", KEY, autoincrement=True, nullable=False),
        sa.Column("tenant_id", sa.SmallInteger(), nullable=False),
        sa.Column(
            "accessed_at",
            sa.DateTime(timezone=True).with_variant(sa.String(length=32), "sqlite"),
            nullable=False,
        ),
        sa.Column("os_user", sa.String(length=100), nullable=False),
        sa.Column("login_user", sa.String(length=100), nullable=True),
        sa.Column("host", sa.String(length=200), nullable=False),
        sa.Column("command", sa.String(length=40), nullable=False),
        sa.Column("person_id", KEY, nullable=True),
        sa.Column("purpose", sa.String(length=200), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenant.tenant_id"], name=op.f("fk_access_log_tenant_id")
        ),
        sa.PrimaryKeyConstraint("access_id", name=op.f("pk_access_log")),
        sqlite_autoincrement=True,
    )
    for statement in SQLITE if _is_sqlite() else POSTGRESQL:
        op.execute(statement)


def downgrade() -> None:
    op.drop_table("access_log")
    if not _is_sqlite():
        op.execute("DROP FUNCTION access_log_refuse()")
