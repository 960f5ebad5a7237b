"""What each publication says in numbers, and the change feed.

The facts of earlier publications are written by the program once the tables are there
(``worker/store/runs/facts.py``, ``record_missing_facts``).
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True).with_variant(sa.String(length=32), "sqlite")
FAILURES = ("transient", "rejected", "refused", "contract", "paging", "unstable")
COUNTS = ("open", "in_effect", "added", "changed", "removed", "persons", "persons_in_effect")
DATED = (
    ("patient_safety_version", "delay_delivery_until"),
    ("patient_privacy_version", "restricted_from"),
    ("patient_privacy_version", "restricted_to"),
)


def number(name, *, nullable=False):
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def upgrade() -> None:
    op.create_table(
        "publication",
        sa.Column("publication_no", sa.BigInteger(), autoincrement=False, nullable=False),
        number("run_id"),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("published_at", TIME, nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        number("roster", nullable=True),
        number("confirmed", nullable=True),
        number("stale", nullable=True),
        *(number(f"failed_{kind}", nullable=True) for kind in FAILURES),
        number("joined"),
        number("departed"),
        number("persons_in_effect"),
        sa.Column("is_base", sa.Boolean(create_constraint=False), nullable=False),
        sa.PrimaryKeyConstraint("publication_no", name=op.f("pk_publication")),
    )
    op.create_table(
        "publication_code",
        sa.Column("publication_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("area", sa.String(length=40), nullable=False),
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.Column("level", sa.String(length=32), nullable=False),
        sa.Column("restriction_group", sa.String(length=16), nullable=True),
        *(number(name) for name in COUNTS),
        sa.PrimaryKeyConstraint(
            "publication_no", "area", "code", "level", name=op.f("pk_publication_code")
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "change_feed",
        sa.Column("seq", KEY, autoincrement=True, nullable=False),
        number("publication_no"),
        sa.Column("happened_at", TIME, nullable=False),
        sa.Column("op", sa.String(length=16), nullable=False),
        sa.Column("area", sa.String(length=40), nullable=True),
        number("version_id", nullable=True),
        number("person_id", nullable=True),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_change_feed")),
        sqlite_autoincrement=True,
    )
    for table, column in DATED:
        dated = sa.text(f"{column} IS NOT NULL")
        op.create_index(
            f"ix_{table}_{column}",
            table,
            [column],
            unique=False,
            sqlite_where=dated,
            postgresql_where=dated,
        )


def downgrade() -> None:
    for table, column in DATED:
        op.drop_index(f"ix_{table}_{column}", table_name=table)
    op.drop_table("change_feed")
    op.drop_table("publication_code")
    op.drop_table("publication")
