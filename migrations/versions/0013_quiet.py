"""Until when HelseID or PTS wants no request, of a run attempt that a ``Retry-After`` ended.

The column is added empty: of earlier attempts nothing is known, and nothing binds.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def _time():
    if op.get_bind().dialect.name == "sqlite":
        return sa.String(32)
    return sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("run_attempt", sa.Column("not_before", _time(), nullable=True))


def downgrade() -> None:
    # An operator's view may refer to one of ours, which is not there then: SQLite drops no column
    # beside a view that it cannot read, unless the schema is writable.
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    if is_sqlite:
        op.execute("PRAGMA writable_schema=ON")
    op.drop_column("run_attempt", "not_before")
    if is_sqlite:
        op.execute("PRAGMA writable_schema=OFF")
