"""When a run last made progress, and who on the roster was not sent to PTS.

Everything is added. A run that is open while this is applied counts from its start, as before.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _time():
    if op.get_bind().dialect.name == "sqlite":
        return sa.String(32)
    return sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("run_attempt", sa.Column("progressed_at", _time(), nullable=True))
    for table in ("run", "run_attempt"):
        count = sa.Column(
            "persons_not_sent", sa.BigInteger(), server_default=sa.text("0"), nullable=False
        )
        op.add_column(table, count)
    op.add_column("person", sa.Column("not_sent_by", KEY, nullable=True))


def downgrade() -> None:
    op.drop_column("person", "not_sent_by")
    for table in ("run_attempt", "run"):
        op.drop_column(table, "persons_not_sent")
    op.drop_column("run_attempt", "progressed_at")
