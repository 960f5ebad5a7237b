"""The tables of the first release, and the triggers that keep the access log append-only.

Imports nothing from the worker, whose declarations change with each release.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "1101"
down_revision = None
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True).with_variant(sa.String(32), "sqlite")
AREAS: dict[str, dict[str, Any]] = {
    "patient_safety": {
        "confidentiality_code": sa.Text(),
        "cause": sa.Text(),
        "delay_days": sa.BigInteger(),
        "delay_from_time": TIME,
        "delay_delivery_until": TIME,
        "delay_is_indefinite": sa.Boolean(),
        "object_type": sa.Text(),
        "object_value": sa.Text(),
        "parent_object_type": sa.Text(),
        "parent_object_value": sa.Text(),
        "source_created_at": TIME,
        "source_modified_at": TIME,
        "created_by": sa.Text(),
    },
    "patient_privacy": {
        "privacy_type": sa.Text(),
        "privacy_level": sa.Text(),
        "restriction_domain": sa.Text(),
        "object_scope": sa.Text(),
        "subject_scope": sa.Text(),
        "restricted_from": TIME,
        "restricted_to": TIME,
        "time_ranges": sa.Text(),
        "source_created_at": TIME,
        "source_modified_at": TIME,
    },
}
"""The typed columns of each area, at this revision."""
FACTS = {
    "patient_safety": ("fact_code", "fact_cause"),
    "patient_privacy": ("fact_code", "fact_level"),
}
"""The columns of each area by which facts count its restrictions."""
TOTALS = (
    "persons_total",
    "persons_complete",
    "persons_stale",
    "persons_departed",
    "persons_missing",
    "persons_not_sent",
    "roster_faults",
    "areas_complete",
    "areas_failed",
    "rows_read",
    "rows_opened",
    "rows_changed",
    "rows_closed",
    "rows_unchanged",
    "requests",
    "retries",
)
"""The counters of a run."""
PERSON_COUNTS = (
    "roster",
    "confirmed",
    "stale",
    "failed_transient",
    "failed_rejected",
    "failed_refused",
    "failed_contract",
    "failed_paging",
    "failed_unstable",
    "joined",
    "departed",
    "missing",
    "persons_in_effect",
)
"""Counts of persons, of a publication and of its cohorts."""
KEPT_DAYS = 90
"""The triggers refuse to delete younger rows of the access log. Retention deletes much later."""
LOGGED = ("access_id", "accessed_at", "os_user", "login_user", "host", "command", "purpose")
NEW, OLD = (", ".join(f"{row}.{name}" for name in LOGGED) for row in ("NEW", "OLD"))
SQLITE = (
    # Only the update of `erase` is allowed, which removes the person from a row.
    f"""
    CREATE TRIGGER access_log_no_update BEFORE UPDATE ON access_log
    WHEN NEW.person_key IS NOT NULL OR ({NEW}) IS NOT ({OLD})
    BEGIN SELECT RAISE(ABORT, 'access_log is append-only'); END
    """,
    f"""
    CREATE TRIGGER access_log_no_delete BEFORE DELETE ON access_log
    WHEN OLD.accessed_at > strftime('%Y-%m-%dT%H:%M:%f', 'now', '-{KEPT_DAYS} days')
    BEGIN SELECT RAISE(ABORT, 'access_log is append-only'); END
    """,
    # REPLACE deletes a row without firing a trigger, so an id that exists is refused as well.
    """
    CREATE TRIGGER access_log_no_replace BEFORE INSERT ON access_log
    WHEN EXISTS (SELECT 1 FROM access_log WHERE access_id = NEW.access_id)
    BEGIN SELECT RAISE(ABORT, 'access_log is append-only'); END
    """,
)
POSTGRESQL = (
    f"""
    CREATE FUNCTION access_log_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'DELETE' THEN
            IF OLD.accessed_at <= clock_timestamp() - interval '{KEPT_DAYS} days' THEN
                RETURN OLD;
            END IF;
        ELSIF TG_OP = 'UPDATE' THEN
            IF NEW.person_key IS NULL AND ({NEW}) IS NOT DISTINCT FROM ({OLD}) THEN
                RETURN NEW;
            END IF;
        END IF;
        RAISE EXCEPTION 'access_log is append-only' USING ERRCODE = 'restrict_violation';
    END $$
    """,
    """
    CREATE TRIGGER access_log_no_change BEFORE UPDATE OR DELETE ON access_log
    FOR EACH ROW EXECUTE FUNCTION access_log_refuse()
    """,
    """
    CREATE TRIGGER access_log_no_truncate BEFORE TRUNCATE ON access_log
    FOR EACH STATEMENT EXECUTE FUNCTION access_log_refuse()
    """,
)


def is_sqlite():
    return op.get_bind().dialect.name == "sqlite"


def where(condition):
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}


def upgrade() -> None:
    create_runs()
    create_persons()
    create_drafts()
    create_versions()
    create_facts()
    create_access_log()


def create_runs():
    op.create_table(
        "store_identity",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("identity", sa.String(length=16), server_default=sa.text("''"), nullable=False),
        sa.Column("key_check", sa.String(length=64), server_default=sa.text("''"), nullable=False),
        sa.Column("service", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("probed_contract", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("last_person_id", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("id = 1", name="ck_store_identity_one"),
        sa.PrimaryKeyConstraint("id", name="pk_store_identity"),
    )
    op.execute("INSERT INTO store_identity (id) VALUES (1)")
    op.create_table(
        "lease",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("fencing_token", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("holder", sa.String(length=64)),
        sa.Column("host", sa.String(length=220)),
        sa.Column("acquired_at", TIME),
        sa.Column("expires_at", TIME),
        sa.CheckConstraint("id = 1", name="ck_lease_one"),
        sa.PrimaryKeyConstraint("id", name="pk_lease"),
    )
    op.execute("INSERT INTO lease (id) VALUES (1)")
    op.create_table(
        "run",
        sa.Column("run_id", KEY, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("areas", sa.Text(), nullable=False),
        sa.Column("terms", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("finished_at", TIME),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("progressed_at", TIME),
        sa.Column("exit_code", sa.Integer()),
        sa.Column("reason", sa.Text()),
        sa.Column("guard", sa.Text()),
        sa.Column("worker_version", sa.String(length=40), nullable=False),
        *(
            sa.Column(name, sa.BigInteger(), server_default=sa.text("0"), nullable=False)
            for name in TOTALS
        ),
        sa.Column("publication_no", sa.BigInteger()),
        sa.Column("published_at", TIME),
        sa.Column("day", sa.String(length=10)),
        *(sa.Column(name, sa.BigInteger()) for name in PERSON_COUNTS),
        sa.CheckConstraint(
            "(status = 'published') = (publication_no IS NOT NULL)", name="ck_run_published"
        ),
        sa.CheckConstraint("kind IN ('sync', 'backfill')", name="ck_run_kind"),
        sa.CheckConstraint(
            "status IN ('running', 'interrupted', 'published', 'withheld', 'abandoned')",
            name="ck_run_status",
        ),
        sa.PrimaryKeyConstraint("run_id", name="pk_run"),
        sa.UniqueConstraint("publication_no", name="uq_run_publication_no"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_run_status", "run", ["status"])
    op.create_table(
        "drift",
        sa.Column("area", sa.String(length=40), nullable=False),
        sa.Column("field", sa.String(length=300), nullable=False),
        sa.Column("records", sa.BigInteger(), nullable=False),
        sa.Column("run_id", KEY, nullable=False),
        sa.Column("first_run", KEY, nullable=False),
        sa.Column("first_seen_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("area", "field", name="pk_drift"),
    )


def create_persons():
    op.create_table(
        "person",
        sa.Column("person_id", KEY, autoincrement=False, nullable=False),
        sa.Column("person_key", sa.String(length=64), nullable=False),
        sa.Column("local_ref", sa.Text()),
        sa.Column("cohort", sa.Text()),
        sa.Column("first_no", sa.BigInteger(), nullable=False),
        sa.Column("departed_no", sa.BigInteger()),
        sa.Column("missed_no", sa.BigInteger()),
        sa.PrimaryKeyConstraint("person_id", name="pk_person"),
    )
    op.create_index(
        "ix_person_departed_no", "person", ["departed_no"], **where("departed_no IS NOT NULL")
    )
    op.create_index("ix_person_local_ref", "person", ["local_ref"])
    op.create_index(
        "ix_person_missed_no", "person", ["missed_no"], **where("missed_no IS NOT NULL")
    )
    op.create_index("uq_person_person_key", "person", ["person_key"], unique=True)
    op.create_table(
        "person_area",
        sa.Column("person_id", KEY, autoincrement=False, nullable=False),
        sa.Column("area", sa.String(length=40), nullable=False),
        sa.Column("confirmed_at", TIME),
        sa.Column("confirmed_no", sa.BigInteger()),
        sa.Column("pages", sa.Integer()),
        sa.Column("record_count", sa.Integer()),
        sa.Column("digest", sa.String(length=32)),
        sa.Column("first_read_at", TIME),
        sa.Column("first_digest", sa.String(length=32)),
        sa.Column("failure_kind", sa.String(length=16)),
        sa.Column("failure_status", sa.Integer()),
        sa.Column("failure_reason", sa.Text()),
        sa.Column("failure_attempts", sa.Integer()),
        sa.Column("failed_at", TIME),
        sa.Column("failing_since", TIME),
        sa.Column("failed_runs", sa.Integer()),
        sa.ForeignKeyConstraint(
            ["person_id"], ["person.person_id"], name="fk_person_area_person_id"
        ),
        sa.PrimaryKeyConstraint("person_id", "area", name="pk_person_area"),
        postgresql_with={"fillfactor": 50},
        sqlite_with_rowid=False,
    )


def create_drafts():
    op.create_table(
        "draft",
        sa.Column("run_id", KEY, autoincrement=False, nullable=False),
        sa.Column("person_id", KEY, autoincrement=False, nullable=False),
        sa.Column("person_key", sa.String(length=64), nullable=False),
        sa.Column("is_new", sa.Boolean(), nullable=False),
        sa.Column("pass_no", sa.Integer(), nullable=False),
        sa.Column("local_ref", sa.Text()),
        sa.Column("cohort", sa.Text()),
        sa.ForeignKeyConstraint(["run_id"], ["run.run_id"], name="fk_draft_run_id"),
        sa.PrimaryKeyConstraint("run_id", "person_id", name="pk_draft"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "uq_draft_new",
        "draft",
        ["run_id", "person_key"],
        unique=True,
        # SQLite has no booleans, and uses the index only for queries in these words.
        sqlite_where=sa.text("is_new = 1"),
        postgresql_where=sa.text("is_new"),
    )
    op.create_table(
        "draft_area",
        sa.Column("run_id", KEY, autoincrement=False, nullable=False),
        sa.Column("person_id", KEY, autoincrement=False, nullable=False),
        sa.Column("area", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("read_at", TIME, nullable=False),
        sa.Column("ids_digest", sa.String(length=32)),
        sa.Column("pages", sa.Integer()),
        sa.Column("record_count", sa.Integer()),
        sa.Column("digest", sa.String(length=32)),
        sa.Column("first_read_at", TIME),
        sa.Column("first_digest", sa.String(length=32)),
        sa.Column("failure_kind", sa.String(length=16)),
        sa.Column("failure_status", sa.Integer()),
        sa.Column("failure_reason", sa.Text()),
        sa.Column("failure_attempts", sa.Integer()),
        sa.Column("retry_at", TIME),
        sa.CheckConstraint(
            "state IN ('complete', 'failed', 'unconfirmed')", name="ck_draft_area_state"
        ),
        sa.PrimaryKeyConstraint("run_id", "person_id", "area", name="pk_draft_area"),
        sqlite_with_rowid=False,
    )
    for area in AREAS:
        create_changes(f"draft_{area}", area)


def create_changes(table, area):
    op.create_table(
        table,
        sa.Column("run_id", KEY, autoincrement=False, nullable=False),
        sa.Column("person_id", KEY, autoincrement=False, nullable=False),
        sa.Column("restriction_id", sa.Text(), nullable=False),
        sa.Column("op", sa.String(length=8), nullable=False),
        sa.Column("version_id", sa.BigInteger()),
        sa.Column("closes", sa.Boolean(), nullable=False),
        sa.Column("loses", sa.Boolean(), nullable=False),
        sa.Column("first_seen_at", TIME),
        sa.Column("observed_at", TIME),
        sa.Column("closed_by_reads", sa.String(length=65)),
        *content(area, nullable=True),
        sa.CheckConstraint("(op = 'insert') = (version_id IS NULL)", name=f"ck_{table}_version"),
        sa.CheckConstraint("op IN ('insert', 'update', 'close')", name=f"ck_{table}_op"),
        sa.ForeignKeyConstraint(["run_id"], ["run.run_id"], name=f"fk_{table}_run_id"),
        sa.PrimaryKeyConstraint("run_id", "person_id", "restriction_id", name=f"pk_{table}"),
        sqlite_with_rowid=False,
    )


def create_versions():
    for area in AREAS:
        create_area_versions(f"{area}_version", area)


def create_area_versions(table, area):
    op.create_table(
        table,
        sa.Column("version_id", KEY, nullable=False),
        sa.Column("person_id", KEY, nullable=False),
        sa.Column("restriction_id", sa.Text(), nullable=False),
        sa.Column("opened_no", sa.BigInteger(), nullable=False),
        sa.Column("closed_no", sa.BigInteger()),
        sa.Column("closed_because", sa.String(length=8)),
        sa.Column("closed_by_reads", sa.String(length=65)),
        sa.Column("first_seen_at", TIME, nullable=False),
        sa.Column("observed_at", TIME, nullable=False),
        sa.Column("is_left_censored", sa.Boolean(), nullable=False),
        *content(area, nullable=False),
        sa.CheckConstraint(
            "closed_because IN ('changed', 'gone', 'departed')", name=f"ck_{table}_because"
        ),
        sa.CheckConstraint(
            "(closed_no IS NULL) = (closed_because IS NULL)", name=f"ck_{table}_closed"
        ),
        sa.CheckConstraint("closed_no > opened_no", name=f"ck_{table}_interval"),
        sa.ForeignKeyConstraint(["person_id"], ["person.person_id"], name=f"fk_{table}_person_id"),
        sa.PrimaryKeyConstraint("version_id", name=f"pk_{table}"),
        sqlite_autoincrement=True,
    )
    key = ["person_id", "restriction_id"]
    op.create_index(f"ix_{table}_closed_no", table, ["closed_no"], **where("closed_no IS NOT NULL"))
    op.create_index(f"ix_{table}_opened_no", table, ["opened_no"])
    op.create_index(f"ix_{table}_person_id_restriction_id", table, key)
    op.create_index(f"ix_{table}_restriction_id", table, ["restriction_id"])
    op.create_index(f"uq_{table}_open", table, key, unique=True, **where("closed_no IS NULL"))


def content(area, *, nullable):
    """The columns of a restriction. The draft of a closing has no content, so all may be NULL."""
    return (
        sa.Column("content_hash", sa.LargeBinary(length=16), nullable=nullable),
        *(sa.Column(name, type_) for name, type_ in AREAS[area].items()),
        sa.Column("extra", sa.Text()),
        sa.Column("restriction_group", sa.String(length=16)),
        sa.Column("restricts", sa.Boolean(), nullable=nullable),
        sa.Column("effect_from", TIME),
        sa.Column("effect_until", TIME),
        *(sa.Column(name, sa.String(length=32), nullable=nullable) for name in FACTS[area]),
    )


def create_facts():
    op.create_table(
        "publication_code",
        sa.Column("publication_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("area", sa.String(length=40), nullable=False),
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.Column("level", sa.String(length=32), nullable=False),
        sa.Column("cause", sa.String(length=32), nullable=False),
        sa.Column("restriction_group", sa.String(length=16), nullable=False),
        sa.Column("cohort", sa.String(length=200), nullable=False),
        sa.Column("open", sa.BigInteger(), nullable=False),
        sa.Column("in_effect", sa.BigInteger(), nullable=False),
        sa.Column("added", sa.BigInteger(), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.Column("removed", sa.BigInteger(), nullable=False),
        sa.Column("joined_with", sa.BigInteger(), nullable=False),
        sa.Column("departed_with", sa.BigInteger(), nullable=False),
        sa.Column("expired", sa.BigInteger(), nullable=False),
        sa.Column("persons", sa.BigInteger(), nullable=False),
        sa.Column("persons_in_effect", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "publication_no",
            "area",
            "code",
            "level",
            "cause",
            "restriction_group",
            "cohort",
            name="pk_publication_code",
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "publication_cohort",
        sa.Column("publication_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("cohort", sa.String(length=200), nullable=False),
        *(sa.Column(name, sa.BigInteger()) for name in PERSON_COUNTS),
        sa.PrimaryKeyConstraint("publication_no", "cohort", name="pk_publication_cohort"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "publication_figure",
        sa.Column("publication_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("figure", sa.String(length=16), nullable=False),
        sa.Column("restriction_group", sa.String(length=16), nullable=False),
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.Column("level", sa.String(length=32), nullable=False),
        sa.Column("cohort", sa.String(length=200), nullable=False),
        sa.Column("restrictions", sa.BigInteger(), nullable=False),
        sa.Column("persons", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "publication_no",
            "figure",
            "restriction_group",
            "code",
            "level",
            "cohort",
            name="pk_publication_figure",
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "change_feed",
        sa.Column("seq", KEY, nullable=False),
        sa.Column("publication_no", sa.BigInteger(), nullable=False),
        sa.Column("happened_at", TIME, nullable=False),
        sa.Column("op", sa.String(length=16), nullable=False),
        sa.Column("area", sa.String(length=40)),
        sa.Column("version_id", sa.BigInteger()),
        sa.Column("person_id", sa.BigInteger()),
        sa.PrimaryKeyConstraint("seq", name="pk_change_feed"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_change_feed_person_id", "change_feed", ["person_id"])


def create_access_log():
    op.create_table(
        "access_log",
        sa.Column("access_id", KEY, nullable=False),
        sa.Column("accessed_at", TIME, nullable=False),
        sa.Column("os_user", sa.String(length=100), nullable=False),
        sa.Column("login_user", sa.String(length=100)),
        sa.Column("host", sa.String(length=200), nullable=False),
        sa.Column("command", sa.String(length=40), nullable=False),
        sa.Column("person_key", sa.String(length=64)),
        sa.Column("purpose", sa.String(length=200)),
        sa.PrimaryKeyConstraint("access_id", name="pk_access_log"),
        sqlite_autoincrement=True,
    )
    for statement in SQLITE if is_sqlite() else POSTGRESQL:
        op.execute(statement)
