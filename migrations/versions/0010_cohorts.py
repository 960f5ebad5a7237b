"""Cohorts of persons; facts by cause and cohort; persons by cohort; earlier labels of persons.

Facts that are there stay: they have no cause, and their persons have no cohort. The next
publication counts from all rows, since it cannot count on from these.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
FAILURES = ("transient", "rejected", "refused", "contract", "paging", "unstable")
COUNTS = ("open", "in_effect", "added", "changed", "removed", "persons", "persons_in_effect")
KNOWN = ("roster", "confirmed", "stale", *(f"failed_{kind}" for kind in FAILURES))
PERSONS = (*KNOWN, "joined", "departed", "persons_in_effect")
CODE = ("publication_no", "area", "code", "level")
GRAIN = {"cause": 32, "cohort": 200}


def number(name, *, nullable=False):
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def make_codes(*grain):
    """The table of facts by code, with more columns in its key."""
    op.create_table(
        "publication_code",
        sa.Column("publication_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("area", sa.String(length=40), nullable=False),
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.Column("level", sa.String(length=32), nullable=False),
        *(sa.Column(name, sa.String(length=GRAIN[name]), nullable=False) for name in grain),
        sa.Column("restriction_group", sa.String(length=16), nullable=True),
        *(number(name) for name in COUNTS),
        sa.PrimaryKeyConstraint(*CODE, *grain, name=op.f("pk_publication_code")),
        sqlite_with_rowid=False,
    )


def upgrade() -> None:
    op.add_column("person", sa.Column("cohort", sa.Text(), nullable=True))
    op.add_column("person", sa.Column("prev_cohort", sa.Text(), nullable=True))
    op.create_table(
        "person_label",
        sa.Column("label_id", KEY, autoincrement=True, nullable=False),
        sa.Column("person_id", KEY, nullable=False),
        number("since_no"),
        number("until_no"),
        sa.Column("local_ref", sa.Text(), nullable=True),
        sa.Column("cohort", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["person_id"], ["person.person_id"], name=op.f("fk_person_label_person_id")
        ),
        sa.PrimaryKeyConstraint("label_id", name=op.f("pk_person_label")),
        sa.UniqueConstraint(
            "person_id", "since_no", name=op.f("uq_person_label_person_id_since_no")
        ),
        sqlite_autoincrement=True,
    )
    # SQLite cannot change a primary key.
    op.execute("CREATE TABLE facts_before AS SELECT * FROM publication_code")
    op.drop_table("publication_code")
    make_codes(*GRAIN)
    kept = ", ".join((*CODE, "restriction_group", *COUNTS))
    op.execute(
        f"INSERT INTO publication_code ({kept}, cause, cohort) "  # noqa: S608
        f"SELECT {kept}, '', '' FROM facts_before"
    )
    op.drop_table("facts_before")
    op.create_table(
        "publication_cohort",
        sa.Column("publication_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("cohort", sa.String(length=200), nullable=False),
        *(number(name, nullable=name in KNOWN) for name in PERSONS),
        sa.PrimaryKeyConstraint("publication_no", "cohort", name=op.f("pk_publication_cohort")),
        sqlite_with_rowid=False,
    )
    counts = ", ".join(PERSONS)
    op.execute(
        f"INSERT INTO publication_cohort (publication_no, cohort, {counts}) "  # noqa: S608
        f"SELECT publication_no, '', {counts} FROM publication"
    )
    op.execute("UPDATE publication SET is_base = false WHERE is_base")


def downgrade() -> None:
    op.drop_table("publication_cohort")
    sums = ", ".join(f"SUM({name}) AS {name}" for name in COUNTS)
    kept = ", ".join((*CODE, "restriction_group"))
    op.execute(
        f"CREATE TABLE facts_after AS SELECT {kept}, {sums} "  # noqa: S608
        f"FROM publication_code GROUP BY {kept}"
    )
    op.drop_table("publication_code")
    make_codes()
    names = ", ".join((*CODE, "restriction_group", *COUNTS))
    op.execute(f"INSERT INTO publication_code ({names}) SELECT {names} FROM facts_after")  # noqa: S608
    op.drop_table("facts_after")
    op.execute("UPDATE publication SET is_base = false WHERE is_base")
    op.drop_table("person_label")
    op.drop_column("person", "prev_cohort")
    op.drop_column("person", "cohort")
