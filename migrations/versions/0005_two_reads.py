"""The proof of a removal is two reads: the first one beside the second, with published twins.

Proofs that are there rest on one read; what they say of a first one stays empty.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TABLE = "person_area"
COLUMNS = (
    ("first_read_at", sa.DateTime(timezone=True).with_variant(sa.String(32), "sqlite")),
    ("first_record_count", sa.Integer()),
    ("first_digest", sa.String(32)),
)


def upgrade() -> None:
    for prefix in ("", "prev_"):
        for name, kind in COLUMNS:
            op.add_column(TABLE, sa.Column(f"{prefix}{name}", kind))


def downgrade() -> None:
    for prefix in ("", "prev_"):
        for name, _ in COLUMNS:
            op.drop_column(TABLE, f"{prefix}{name}")
