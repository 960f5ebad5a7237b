"""First schema.

Old programs must run on the new schema: add in one release, drop in a later one.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True).with_variant(sa.String(32), "sqlite")


def upgrade() -> None:
    op.create_table(
        "tenant",
        sa.Column("tenant_id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("identity", sa.String(length=16), server_default=sa.text("''"), nullable=False),
        sa.Column("key_check", sa.String(length=64), server_default=sa.text("''"), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_tenant")),
        sa.UniqueConstraint("name", name=op.f("uq_tenant_name")),
    )
    op.create_table(
        "lease",
        sa.Column("tenant_id", sa.SmallInteger(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("fencing_token", sa.BigInteger(), nullable=False),
        sa.Column("holder", sa.String(length=64), nullable=True),
        sa.Column("host", sa.String(length=200), nullable=True),
        sa.Column("process", sa.String(length=200), nullable=True),
        sa.Column("acquired_at", TIME, nullable=True),
        sa.Column("expires_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenant.tenant_id"], name=op.f("fk_lease_tenant_id")
        ),
        sa.PrimaryKeyConstraint("tenant_id", "name", name=op.f("pk_lease")),
    )
    op.create_table(
        "run",
        sa.Column("run_id", KEY, autoincrement=True, nullable=False),
        sa.Column("tenant_id", sa.SmallInteger(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("run_key", sa.String(length=200), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("areas", sa.Text(), nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("finished_at", TIME, nullable=True),
        sa.Column("published_at", TIME, nullable=True),
        sa.Column("publication_no", sa.BigInteger(), nullable=True),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("worker_version", sa.String(length=40), nullable=False),
        sa.Column("open_before", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("holders_before", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("persons_before", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("persons_total", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("persons_complete", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("persons_stale", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("persons_departed", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("roster_faults", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("areas_complete", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("areas_failed", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("rows_read", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("rows_opened", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("rows_changed", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("rows_closed", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("rows_moved", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("rows_unchanged", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("requests", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("retries", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint(
            "(status = 'published') = (publication_no IS NOT NULL)", name=op.f("ck_run_published")
        ),
        sa.CheckConstraint("kind IN ('sync', 'backfill')", name=op.f("ck_run_kind")),
        sa.CheckConstraint(
            "status IN ('running', 'interrupted', 'published', 'withheld', 'abandoned')",
            name=op.f("ck_run_status"),
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.tenant_id"], name=op.f("fk_run_tenant_id")),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_run")),
        sa.UniqueConstraint(
            "tenant_id", "publication_no", name=op.f("uq_run_tenant_id_publication_no")
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_run_tenant_id_status", "run", ["tenant_id", "status"], unique=False)
    op.create_table(
        "area_key",
        sa.Column("tenant_id", sa.SmallInteger(), nullable=False),
        sa.Column("area", sa.String(length=40), nullable=False),
        sa.Column("key_path", sa.String(length=200), nullable=False),
        sa.Column("since_run", KEY, nullable=False),
        sa.ForeignKeyConstraint(["since_run"], ["run.run_id"], name=op.f("fk_area_key_since_run")),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenant.tenant_id"], name=op.f("fk_area_key_tenant_id")
        ),
        sa.PrimaryKeyConstraint("tenant_id", "area", name=op.f("pk_area_key")),
    )
    op.create_table(
        "drift",
        sa.Column("tenant_id", sa.SmallInteger(), nullable=False),
        sa.Column("area", sa.String(length=40), nullable=False),
        sa.Column("field", sa.String(length=300), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("first_run", KEY, nullable=False),
        sa.Column("first_seen_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["first_run"], ["run.run_id"], name=op.f("fk_drift_first_run")),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenant.tenant_id"], name=op.f("fk_drift_tenant_id")
        ),
        sa.PrimaryKeyConstraint("tenant_id", "area", "field", "kind", name=op.f("pk_drift")),
    )
    op.create_table(
        "person",
        sa.Column("person_id", KEY, autoincrement=True, nullable=False),
        sa.Column("tenant_id", sa.SmallInteger(), nullable=False),
        sa.Column("person_key", sa.String(length=64), nullable=False),
        sa.Column("first_run", KEY, nullable=False),
        sa.Column("departed_run", KEY, nullable=True),
        sa.Column("local_ref", sa.Text(), nullable=True),
        sa.Column("local_ref_run", KEY, nullable=False),
        sa.Column("prev_local_ref", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["departed_run"], ["run.run_id"], name=op.f("fk_person_departed_run")
        ),
        sa.ForeignKeyConstraint(["first_run"], ["run.run_id"], name=op.f("fk_person_first_run")),
        sa.ForeignKeyConstraint(
            ["local_ref_run"], ["run.run_id"], name=op.f("fk_person_local_ref_run")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenant.tenant_id"], name=op.f("fk_person_tenant_id")
        ),
        sa.PrimaryKeyConstraint("person_id", name=op.f("pk_person")),
        sa.UniqueConstraint("tenant_id", "person_key", name=op.f("uq_person_tenant_id_person_key")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_person_departed_run"), "person", ["departed_run"], unique=False)
    op.create_index(op.f("ix_person_first_run"), "person", ["first_run"], unique=False)
    op.create_index(op.f("ix_person_local_ref_run"), "person", ["local_ref_run"], unique=False)
    op.create_table(
        "run_attempt",
        sa.Column("attempt_id", KEY, autoincrement=True, nullable=False),
        sa.Column("run_id", KEY, nullable=False),
        sa.Column("shard", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("host", sa.String(length=200), nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("ended_at", TIME, nullable=True),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("requests", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("retries", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("roster_faults", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.run_id"], name=op.f("fk_run_attempt_run_id")),
        sa.PrimaryKeyConstraint("attempt_id", name=op.f("pk_run_attempt")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_run_attempt_run_id"), "run_attempt", ["run_id"], unique=False)
    op.create_table(
        "failure",
        sa.Column("person_id", KEY, nullable=False),
        sa.Column("area", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("runs", sa.Integer(), nullable=False),
        sa.Column("first_at", TIME, nullable=False),
        sa.Column("last_at", TIME, nullable=False),
        sa.Column("first_run", KEY, nullable=False),
        sa.Column("last_run", KEY, nullable=False),
        sa.ForeignKeyConstraint(["first_run"], ["run.run_id"], name=op.f("fk_failure_first_run")),
        sa.ForeignKeyConstraint(["last_run"], ["run.run_id"], name=op.f("fk_failure_last_run")),
        sa.ForeignKeyConstraint(
            ["person_id"], ["person.person_id"], name=op.f("fk_failure_person_id")
        ),
        sa.PrimaryKeyConstraint("person_id", "area", name=op.f("pk_failure")),
    )
    op.create_table(
        "patient_privacy_version",
        sa.Column("version_id", KEY, autoincrement=True, nullable=False),
        sa.Column("person_id", KEY, nullable=False),
        sa.Column("restriction_id", sa.Text(), nullable=False),
        sa.Column("opened_run", KEY, nullable=False),
        sa.Column("closed_run", KEY, nullable=True),
        sa.Column("first_seen_at", TIME, nullable=False),
        sa.Column("observed_at", TIME, nullable=False),
        sa.Column("content_hash", sa.LargeBinary(length=16), nullable=False),
        sa.Column("privacy_type", sa.Text(), nullable=True),
        sa.Column("privacy_level", sa.Text(), nullable=True),
        sa.Column("restriction_domain", sa.Text(), nullable=True),
        sa.Column("object_scope", sa.Text(), nullable=True),
        sa.Column("subject_scope", sa.Text(), nullable=True),
        sa.Column("restricted_from", TIME, nullable=True),
        sa.Column("restricted_to", TIME, nullable=True),
        sa.Column("time_ranges", sa.Text(), nullable=True),
        sa.Column("source_created_at", TIME, nullable=True),
        sa.Column("source_modified_at", TIME, nullable=True),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "closed_run <> opened_run", name=op.f("ck_patient_privacy_version_interval")
        ),
        sa.ForeignKeyConstraint(
            ["closed_run"], ["run.run_id"], name=op.f("fk_patient_privacy_version_closed_run")
        ),
        sa.ForeignKeyConstraint(
            ["opened_run"], ["run.run_id"], name=op.f("fk_patient_privacy_version_opened_run")
        ),
        sa.ForeignKeyConstraint(
            ["person_id"], ["person.person_id"], name=op.f("fk_patient_privacy_version_person_id")
        ),
        sa.PrimaryKeyConstraint("version_id", name=op.f("pk_patient_privacy_version")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_patient_privacy_version_closed_run",
        "patient_privacy_version",
        ["closed_run"],
        unique=False,
        sqlite_where=sa.text("closed_run IS NOT NULL"),
        postgresql_where=sa.text("closed_run IS NOT NULL"),
    )
    op.create_index(
        op.f("ix_patient_privacy_version_opened_run"),
        "patient_privacy_version",
        ["opened_run"],
        unique=False,
    )
    op.create_index(
        "ix_patient_privacy_version_person_id_restriction_id",
        "patient_privacy_version",
        ["person_id", "restriction_id"],
        unique=False,
    )
    op.create_index(
        "uq_patient_privacy_version_open",
        "patient_privacy_version",
        ["restriction_id", "person_id"],
        unique=True,
        sqlite_where=sa.text("closed_run IS NULL"),
        postgresql_where=sa.text("closed_run IS NULL"),
    )
    op.create_table(
        "patient_safety_version",
        sa.Column("version_id", KEY, autoincrement=True, nullable=False),
        sa.Column("person_id", KEY, nullable=False),
        sa.Column("restriction_id", sa.Text(), nullable=False),
        sa.Column("opened_run", KEY, nullable=False),
        sa.Column("closed_run", KEY, nullable=True),
        sa.Column("first_seen_at", TIME, nullable=False),
        sa.Column("observed_at", TIME, nullable=False),
        sa.Column("content_hash", sa.LargeBinary(length=16), nullable=False),
        sa.Column("confidentiality_code", sa.Text(), nullable=True),
        sa.Column("cause", sa.Text(), nullable=True),
        sa.Column("delay_days", sa.BigInteger(), nullable=True),
        sa.Column("delay_delivery_until", TIME, nullable=True),
        sa.Column("delay_is_indefinite", sa.Boolean(), nullable=True),
        sa.Column("object_type", sa.Text(), nullable=True),
        sa.Column("object_value", sa.Text(), nullable=True),
        sa.Column("parent_object_type", sa.Text(), nullable=True),
        sa.Column("parent_object_value", sa.Text(), nullable=True),
        sa.Column("source_created_at", TIME, nullable=True),
        sa.Column("source_modified_at", TIME, nullable=True),
        sa.Column("created_by", sa.Text(), nullable=True),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "closed_run <> opened_run", name=op.f("ck_patient_safety_version_interval")
        ),
        sa.ForeignKeyConstraint(
            ["closed_run"], ["run.run_id"], name=op.f("fk_patient_safety_version_closed_run")
        ),
        sa.ForeignKeyConstraint(
            ["opened_run"], ["run.run_id"], name=op.f("fk_patient_safety_version_opened_run")
        ),
        sa.ForeignKeyConstraint(
            ["person_id"], ["person.person_id"], name=op.f("fk_patient_safety_version_person_id")
        ),
        sa.PrimaryKeyConstraint("version_id", name=op.f("pk_patient_safety_version")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_patient_safety_version_closed_run",
        "patient_safety_version",
        ["closed_run"],
        unique=False,
        sqlite_where=sa.text("closed_run IS NOT NULL"),
        postgresql_where=sa.text("closed_run IS NOT NULL"),
    )
    op.create_index(
        op.f("ix_patient_safety_version_opened_run"),
        "patient_safety_version",
        ["opened_run"],
        unique=False,
    )
    op.create_index(
        "ix_patient_safety_version_person_id_restriction_id",
        "patient_safety_version",
        ["person_id", "restriction_id"],
        unique=False,
    )
    op.create_index(
        "uq_patient_safety_version_open",
        "patient_safety_version",
        ["restriction_id", "person_id"],
        unique=True,
        sqlite_where=sa.text("closed_run IS NULL"),
        postgresql_where=sa.text("closed_run IS NULL"),
    )
    op.create_table(
        "person_area",
        sa.Column("person_id", KEY, nullable=False),
        sa.Column("area", sa.String(length=40), nullable=False),
        sa.Column("run_id", KEY, nullable=False),
        sa.Column("attempt_id", KEY, nullable=False),
        sa.Column("is_complete", sa.Boolean(), nullable=False),
        sa.Column("confirmed_at", TIME, nullable=True),
        sa.Column("pages", sa.Integer(), nullable=True),
        sa.Column("record_count", sa.Integer(), nullable=True),
        sa.Column("digest", sa.String(length=32), nullable=True),
        sa.Column("prev_run_id", KEY, nullable=True),
        sa.Column("prev_is_complete", sa.Boolean(), nullable=True),
        sa.Column("prev_confirmed_at", TIME, nullable=True),
        sa.Column("prev_pages", sa.Integer(), nullable=True),
        sa.Column("prev_record_count", sa.Integer(), nullable=True),
        sa.Column("prev_digest", sa.String(length=32), nullable=True),
        sa.ForeignKeyConstraint(
            ["attempt_id"], ["run_attempt.attempt_id"], name=op.f("fk_person_area_attempt_id")
        ),
        sa.ForeignKeyConstraint(
            ["person_id"], ["person.person_id"], name=op.f("fk_person_area_person_id")
        ),
        sa.ForeignKeyConstraint(
            ["prev_run_id"], ["run.run_id"], name=op.f("fk_person_area_prev_run_id")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["run.run_id"], name=op.f("fk_person_area_run_id")),
        sa.PrimaryKeyConstraint("person_id", "area", name=op.f("pk_person_area")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_person_area_run_id"), "person_area", ["run_id"], unique=False)
    op.bulk_insert(
        sa.table("tenant", sa.column("tenant_id", sa.SmallInteger), sa.column("name", sa.String)),
        [{"tenant_id": 1, "name": "default"}],
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_person_area_run_id"), table_name="person_area")
    op.drop_table("person_area")
    op.drop_index(
        "uq_patient_safety_version_open",
        table_name="patient_safety_version",
        sqlite_where=sa.text("closed_run IS NULL"),
        postgresql_where=sa.text("closed_run IS NULL"),
    )
    op.drop_index(
        "ix_patient_safety_version_person_id_restriction_id", table_name="patient_safety_version"
    )
    op.drop_index(op.f("ix_patient_safety_version_opened_run"), table_name="patient_safety_version")
    op.drop_index(
        "ix_patient_safety_version_closed_run",
        table_name="patient_safety_version",
        sqlite_where=sa.text("closed_run IS NOT NULL"),
        postgresql_where=sa.text("closed_run IS NOT NULL"),
    )
    op.drop_table("patient_safety_version")
    op.drop_index(
        "uq_patient_privacy_version_open",
        table_name="patient_privacy_version",
        sqlite_where=sa.text("closed_run IS NULL"),
        postgresql_where=sa.text("closed_run IS NULL"),
    )
    op.drop_index(
        "ix_patient_privacy_version_person_id_restriction_id", table_name="patient_privacy_version"
    )
    op.drop_index(
        op.f("ix_patient_privacy_version_opened_run"), table_name="patient_privacy_version"
    )
    op.drop_index(
        "ix_patient_privacy_version_closed_run",
        table_name="patient_privacy_version",
        sqlite_where=sa.text("closed_run IS NOT NULL"),
        postgresql_where=sa.text("closed_run IS NOT NULL"),
    )
    op.drop_table("patient_privacy_version")
    op.drop_table("failure")
    op.drop_index(op.f("ix_run_attempt_run_id"), table_name="run_attempt")
    op.drop_table("run_attempt")
    op.drop_index(op.f("ix_person_local_ref_run"), table_name="person")
    op.drop_index(op.f("ix_person_first_run"), table_name="person")
    op.drop_index(op.f("ix_person_departed_run"), table_name="person")
    op.drop_table("person")
    op.drop_table("drift")
    op.drop_table("area_key")
    op.drop_index("ix_run_tenant_id_status", table_name="run")
    op.drop_table("run")
    op.drop_table("lease")
    op.drop_table("tenant")
