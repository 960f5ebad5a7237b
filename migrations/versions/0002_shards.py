"""One run in several processes: whose lease it is, which part is done, who may ask how often.

Everything is added, and nothing of it is needed by a run in one process.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
FLAG = sa.Boolean(create_constraint=False)


def upgrade() -> None:
    op.add_column("lease", sa.Column("run_key", sa.String(length=200), nullable=True))
    op.add_column("lease", sa.Column("shards", sa.Integer(), nullable=True))
    op.add_column("lease", sa.Column("run_id", KEY, nullable=True))
    op.add_column("lease", sa.Column("share_per_hour", sa.BigInteger(), nullable=True))
    op.add_column(
        "run", sa.Column("shards", sa.Integer(), server_default=sa.text("0"), nullable=False)
    )
    for name in ("is_done", "roster_whole"):
        op.add_column(
            "run_attempt", sa.Column(name, FLAG, server_default=sa.false(), nullable=False)
        )


def downgrade() -> None:
    for name in ("roster_whole", "is_done"):
        op.drop_column("run_attempt", name)
    op.drop_column("run", "shards")
    for name in ("share_per_hour", "run_id", "shards", "run_key"):
        op.drop_column("lease", name)
