"""Proofs without an index by run: each night changes the run of every one of them.

A plain index kept PostgreSQL from updating proofs in place (HOT). BRIN does not stand in the way
(PostgreSQL 16 and newer) and still finds the few proofs of a backfill; pages that are half empty
have room for each proof's next version. A night's write-ahead log becomes half as long
(docs/scale.md). SQLite walks through the table where it is asked by run.
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

INDEX, TABLE = "ix_person_area_run_id", "person_area"


def upgrade() -> None:
    op.drop_index(INDEX, table_name=TABLE)
    if op.get_bind().dialect.name == "postgresql":
        op.create_index(INDEX, TABLE, ["run_id"], postgresql_using="brin")
        op.execute(f"ALTER TABLE {TABLE} SET (fillfactor = 50)")


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.drop_index(INDEX, table_name=TABLE)
        op.execute(f"ALTER TABLE {TABLE} RESET (fillfactor)")
    op.create_index(INDEX, TABLE, ["run_id"])
