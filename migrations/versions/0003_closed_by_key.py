"""What a run closed, found by restriction: a night's changes must not be looked through for each.

The index on ``closed_run`` alone made a night with many changes grow with their square
(docs/scale.md).
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TABLES = ("patient_privacy_version", "patient_safety_version")
CLOSED = sa.text("closed_run IS NOT NULL")


def _make(columns):
    for table in TABLES:
        name = f"ix_{table}_closed_run"
        op.drop_index(name, table_name=table)
        op.create_index(name, table, columns, sqlite_where=CLOSED, postgresql_where=CLOSED)


def upgrade() -> None:
    _make(["closed_run", "restriction_id"])


def downgrade() -> None:
    _make(["closed_run"])
