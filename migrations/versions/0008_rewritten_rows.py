"""How far the rows of an earlier program are rewritten (``worker/store/schema/rewriting.py``).

Until now a row could hold identifiers of other persons, odd spellings of the person's own, and the
names of those who made a restriction. ``db upgrade`` takes them out after this; a store in which no
run has begun holds none.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tenant", sa.Column("rewritten_to", sa.BigInteger(), nullable=True))
    op.execute("UPDATE tenant SET rewritten_to = 0 WHERE identity <> ''")


def downgrade() -> None:
    op.drop_column("tenant", "rewritten_to")
