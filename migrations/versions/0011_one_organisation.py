"""One database, one organisation: ``tenant_id`` goes, and ``tenant`` becomes ``store_identity``.

The program has only ever written one tenant. A database with others is refused and left as it is.
SQLite makes each of these tables anew, once; versions and proofs, which are most of a database, are
not among them. An id that was given once is not given again, whatever became of its row.
"""

import sqlalchemy as sa
from alembic import op

from worker.errors import SchemaError

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

KEYS = {"lease": ["name"], "area_key": ["area"], "drift": ["area", "field", "kind"]}
"""The tables whose primary key begins with the tenant, and the rest of it."""
TENANT = "tenant_id"
DEPARTED = "ix_person_departed_run"
STATE = "identity, key_check, rewritten_to"


def _is_sqlite():
    return op.get_bind().dialect.name == "sqlite"


def _state_columns():
    return (
        sa.Column("identity", sa.String(length=16), server_default=sa.text("''"), nullable=False),
        sa.Column("key_check", sa.String(length=64), server_default=sa.text("''"), nullable=False),
        sa.Column("rewritten_to", sa.BigInteger(), nullable=True),
    )


def _pragmas(*pragmas):
    for pragma in pragmas if _is_sqlite() else ():
        op.execute(f"PRAGMA {pragma}")


def _rebuild(table, change):
    """Let ``change`` alter a table with numbered rows; SQLite's new one keeps numbers, triggers."""
    if not _is_sqlite():
        with op.batch_alter_table(table) as batch:
            change(batch)
        return

    def run(sql):
        return op.get_bind().execute(sa.text(sql), {"table": table})

    numbers = run("SELECT name, seq FROM sqlite_sequence WHERE name = :table").all()
    triggers = run("SELECT sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = :table")
    triggers = triggers.scalars().all()
    with op.batch_alter_table(table, table_kwargs={"sqlite_autoincrement": True}) as batch:
        change(batch)
    run("DELETE FROM sqlite_sequence WHERE name = :table")
    for number in numbers:
        op.get_bind().exec_driver_sql("INSERT INTO sqlite_sequence VALUES (?, ?)", tuple(number))
    for trigger in triggers:
        op.get_bind().exec_driver_sql(trigger)


def _leave_tenant(batch, table):
    batch.drop_constraint(f"fk_{table}_tenant_id", type_="foreignkey")
    batch.drop_column(TENANT)


def _join_tenant(batch, table):
    column = sa.Column(TENANT, sa.SmallInteger(), server_default=sa.text("1"), nullable=False)
    batch.add_column(column)
    batch.create_foreign_key(f"fk_{table}_tenant_id", "tenant", [TENANT], [TENANT])


def upgrade() -> None:
    count = op.get_bind().execute(sa.text("SELECT count(*) FROM tenant")).scalar_one()
    if count != 1:
        raise SchemaError(
            f"the table tenant has {count} rows, and this program keeps one organisation in a "
            "database; nothing was changed",
            hint="begin a new database for each organisation, and keep the earlier program to read "
            "this one (docs/operations.md, Several organisations)",
        )
    op.create_table(
        "store_identity",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        *_state_columns(),
        sa.CheckConstraint("id = 1", name=op.f("ck_store_identity_one")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_store_identity")),
    )
    op.execute(f"INSERT INTO store_identity (id, {STATE}) SELECT 1, {STATE} FROM tenant")  # noqa: S608

    def run(batch):
        batch.drop_index("ix_run_tenant_id_status")
        batch.drop_constraint("uq_run_tenant_id_publication_no", type_="unique")
        _leave_tenant(batch, "run")
        batch.create_unique_constraint("uq_run_publication_no", ["publication_no"])
        batch.create_index("ix_run_status", ["status"])

    def person(batch):
        batch.drop_constraint("uq_person_tenant_id_person_key", type_="unique")
        _leave_tenant(batch, "person")
        # An index is made of sorted rows; a constraint would be kept row by row, in random order.
        batch.create_index("uq_person_person_key", ["person_key"], unique=True)
        # Without a tenant to begin with, SQLite takes any index that has a condition of the query.
        batch.drop_index(DEPARTED)
        gone = sa.text("departed_run IS NOT NULL")
        batch.create_index(DEPARTED, ["departed_run"], sqlite_where=gone, postgresql_where=gone)

    # A view of the operator's own may refer to ours, which are not there at the moment.
    _pragmas("legacy_alter_table=ON", "secure_delete=ON")
    for table, key in KEYS.items():
        with op.batch_alter_table(table) as batch:
            batch.drop_constraint(f"pk_{table}", type_="primary")
            _leave_tenant(batch, table)
            batch.create_primary_key(f"pk_{table}", key)
    _rebuild("run", run)
    _rebuild("person", person)
    _rebuild("access_log", lambda batch: _leave_tenant(batch, "access_log"))
    _pragmas("legacy_alter_table=OFF")
    op.drop_table("tenant")


def downgrade() -> None:
    op.create_table(
        "tenant",
        sa.Column(TENANT, sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        *_state_columns(),
        sa.PrimaryKeyConstraint(TENANT, name=op.f("pk_tenant")),
        sa.UniqueConstraint("name", name=op.f("uq_tenant_name")),
    )
    op.execute(
        f"INSERT INTO tenant (tenant_id, name, {STATE}) "  # noqa: S608
        f"SELECT 1, 'default', {STATE} FROM store_identity"
    )

    def run(batch):
        batch.drop_index("ix_run_status")
        batch.drop_constraint("uq_run_publication_no", type_="unique")
        _join_tenant(batch, "run")
        batch.create_unique_constraint(
            "uq_run_tenant_id_publication_no", [TENANT, "publication_no"]
        )
        batch.create_index("ix_run_tenant_id_status", [TENANT, "status"])

    def person(batch):
        batch.drop_index("uq_person_person_key")
        batch.drop_index(DEPARTED)
        batch.create_index(DEPARTED, ["departed_run"])
        _join_tenant(batch, "person")
        batch.create_unique_constraint("uq_person_tenant_id_person_key", [TENANT, "person_key"])

    _pragmas("legacy_alter_table=ON", "secure_delete=ON")
    for table, key in KEYS.items():
        with op.batch_alter_table(table) as batch:
            batch.drop_constraint(f"pk_{table}", type_="primary")
            _join_tenant(batch, table)
            batch.create_primary_key(f"pk_{table}", [TENANT, *key])
    _rebuild("run", run)
    _rebuild("person", person)
    _rebuild("access_log", lambda batch: _join_tenant(batch, "access_log"))
    _pragmas("legacy_alter_table=OFF")
    op.drop_table("store_identity")
