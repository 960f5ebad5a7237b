"""The tables: columns, keys, constraints and indexes.

A run writes drafts under its own id, and no view reads them. Publication takes the next number and
applies them: it closes the versions that they replace and opens new ones, with that number. At
publication n, readers saw ``opened_no <= n AND (closed_no IS NULL OR closed_no > n)``. Facts and
the change feed are written by a publication and refer to no other table, because their rows stay
for ever.

The first migration repeats these declarations, and a test compares the two.
"""

from collections.abc import Mapping
from typing import Final

import sqlalchemy as sa

from worker.core.area import AREAS, ResourceArea
from worker.store.schema.columns import (
    PERSON_COUNTS,
    TOTALS,
    RowId,
    content,
    partial,
    proof_and_failure,
)
from worker.views import UtcTime

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
    }
)

store_identity = sa.Table(
    "store_identity",
    metadata,
    sa.Column("id", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("identity", sa.String(16), nullable=False, server_default=sa.text("''")),
    sa.Column("key_check", sa.String(64), nullable=False, server_default=sa.text("''")),
    sa.Column("service", sa.Text, nullable=False, server_default=sa.text("''")),
    sa.Column("probed_contract", sa.Text, nullable=False, server_default=sa.text("''")),
    sa.Column("last_person_id", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    # A second row would allow a second writer, or a second identity.
    sa.CheckConstraint("id = 1", name="one"),
)
"""One row, created by the migration.

``service`` is the PTS that the database was filled from. ``probed_contract`` is the contract under
which a probe last succeeded (``core.contract.fingerprints``). ``last_person_id`` only grows, so
that the id of an erased person is never used again.
"""

lease = sa.Table(
    "lease",
    metadata,
    sa.Column("id", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("fencing_token", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("holder", sa.String(64)),
    sa.Column("host", sa.String(220)),
    sa.Column("acquired_at", UtcTime),
    sa.Column("expires_at", UtcTime),
    sa.CheckConstraint("id = 1", name="one"),
)
"""One row, created by the migration. Without a holder it is free. ``host`` is for messages."""

run = sa.Table(
    "run",
    metadata,
    sa.Column("run_id", RowId, primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("areas", sa.Text, nullable=False),
    sa.Column("terms", sa.Text, nullable=False, server_default=sa.text("''")),
    sa.Column("started_at", UtcTime, nullable=False),
    sa.Column("finished_at", UtcTime),
    sa.Column("attempts", sa.Integer, nullable=False, server_default=sa.text("1")),
    sa.Column("progressed_at", UtcTime),
    sa.Column("exit_code", sa.Integer),
    sa.Column("reason", sa.Text),
    sa.Column("guard", sa.Text),
    sa.Column("worker_version", sa.String(40), nullable=False),
    *(
        sa.Column(name, sa.BigInteger, nullable=False, server_default=sa.text("0"))
        for name in TOTALS
    ),
    # Unique, so that two publications can never share a number. NULL before publication.
    sa.Column("publication_no", sa.BigInteger, unique=True),
    sa.Column("published_at", UtcTime),
    sa.Column("day", sa.String(10)),
    *(sa.Column(name, sa.BigInteger) for name in PERSON_COUNTS),
    # Readers find publications by number, and commands by status. Both must agree.
    sa.CheckConstraint("(status = 'published') = (publication_no IS NOT NULL)", name="published"),
    sa.CheckConstraint("kind IN ('sync', 'backfill')", name="kind"),
    sa.CheckConstraint(
        "status IN ('running', 'interrupted', 'published', 'withheld', 'abandoned')", name="status"
    ),
    sa.Index("ix_run_status", "status"),
    sqlite_autoincrement=True,
)
"""The ledger. A published run is a publication: it has facts and stays for ever.

``terms`` is the contract, service and confirmation when the run started (``App.terms``). If they
change, the run is not resumed. ``attempts`` counts the processes that have worked on it.
``progressed_at`` is when it last wrote a complete read. ``guard`` is the guard's facts as JSON
(``core.guard_facts.GuardFacts``).
"""

drift = sa.Table(
    "drift",
    metadata,
    sa.Column("area", sa.String(40), primary_key=True),
    sa.Column("field", sa.String(300), primary_key=True),
    sa.Column("records", sa.BigInteger, nullable=False),
    sa.Column("run_id", RowId, nullable=False),
    sa.Column("first_run", RowId, nullable=False),
    sa.Column("first_seen_at", UtcTime, nullable=False),
)
"""Undeclared fields: in how many records of the last run each was seen, and since which run. The
run columns are not foreign keys, because a field may outlive its run."""

person = sa.Table(
    "person",
    metadata,
    sa.Column("person_id", RowId, primary_key=True, autoincrement=False),
    # 64 characters: HMAC-SHA256 in hex, or the identifier in plain mode.
    sa.Column("person_key", sa.String(64), nullable=False),
    sa.Column("local_ref", sa.Text),
    sa.Column("cohort", sa.Text),
    sa.Column("first_no", sa.BigInteger, nullable=False),
    sa.Column("departed_no", sa.BigInteger),
    sa.Column("missed_no", sa.BigInteger),
    sa.Index("uq_person_person_key", "person_key", unique=True),
    sa.Index("ix_person_local_ref", "local_ref"),
)
"""A published person.

``missed_no`` is the publication of the full roster from which the person was first missing. If the
person is not on the next full roster either, ``departed_no`` is the publication of that roster."""
sa.Index(
    # Partial, because nearly all rows have NULL here.
    "ix_person_departed_no",
    person.c.departed_no,
    **partial(person.c.departed_no.is_not(None)),
)
sa.Index("ix_person_missed_no", person.c.missed_no, **partial(person.c.missed_no.is_not(None)))

person_area = sa.Table(
    "person_area",
    metadata,
    sa.Column(
        "person_id", RowId, sa.ForeignKey("person.person_id"), primary_key=True, autoincrement=False
    ),
    sa.Column("area", sa.String(40), primary_key=True),
    sa.Column("confirmed_at", UtcTime),
    sa.Column("confirmed_no", sa.BigInteger),
    *proof_and_failure(),
    sa.Column("failed_at", UtcTime),
    sa.Column("failing_since", UtcTime),
    sa.Column("failed_runs", sa.Integer),
    sqlite_with_rowid=False,
    # Each night updates every row. With a free half of each page, the new row stays there (HOT),
    # and no index grows.
    postgresql_with={"fillfactor": 50},
)
"""An area of a published person: its last complete read, and its failure.

It is stale if it has a failure, or if its ``confirmed_no`` is missing or before the last full
publication of that area. No column that changes each night is in an index.
"""

draft = sa.Table(
    "draft",
    metadata,
    sa.Column("run_id", RowId, sa.ForeignKey("run.run_id"), primary_key=True, autoincrement=False),
    sa.Column("person_id", RowId, primary_key=True, autoincrement=False),
    sa.Column("person_key", sa.String(64), nullable=False),
    sa.Column("is_new", sa.Boolean, nullable=False),
    sa.Column("pass_no", sa.Integer, nullable=False),
    sa.Column("local_ref", sa.Text),
    sa.Column("cohort", sa.Text),
    sqlite_with_rowid=False,
)
"""A person of an open run, not published. Without a draft area, the person was not read.

``pass_no`` is the last pass that saw the person on the roster, or read an area, counted over all
attempts (``RunHandle.pass_no``).
"""
sa.Index(
    # Two batches must not give one new person two ids.
    "uq_draft_new",
    draft.c.run_id,
    draft.c.person_key,
    unique=True,
    # Written exactly as in the queries, or SQLite's planner does not recognize the condition.
    sqlite_where=sa.text("is_new = 1"),
    postgresql_where=draft.c.is_new,
)

COMPLETE: Final = "complete"
FAILED: Final = "failed"
UNCONFIRMED: Final = "unconfirmed"

draft_area = sa.Table(
    "draft_area",
    metadata,
    # No foreign key, which would cost a look-up for each read of each night.
    sa.Column("run_id", RowId, primary_key=True, autoincrement=False),
    sa.Column("person_id", RowId, primary_key=True, autoincrement=False),
    sa.Column("area", sa.String(40), primary_key=True),
    sa.Column("state", sa.String(12), nullable=False),
    sa.Column("read_at", UtcTime, nullable=False),
    sa.Column("ids_digest", sa.String(32)),
    *proof_and_failure(),
    sa.Column("retry_at", UtcTime),
    sa.CheckConstraint(f"state IN ('{COMPLETE}', '{FAILED}', '{UNCONFIRMED}')", name="state"),
    sqlite_with_rowid=False,
)
"""A read of an area of a person in an open run.

``unconfirmed``: the area needs a second read, and ``ids_digest`` is the digest of the ids of the
first one. If the second read fails, the failure is noted and the first read stays. ``retry_at`` is
the end of the pause that PTS asked for. A withheld run leaves its failures until the next run
begins. All other drafts of a run that is not open are garbage.
"""


def _version_table(area: ResourceArea) -> sa.Table:
    name = f"{area.table}_version"
    table = sa.Table(
        name,
        metadata,
        sa.Column("version_id", RowId, primary_key=True),
        sa.Column("person_id", RowId, sa.ForeignKey("person.person_id"), nullable=False),
        sa.Column("restriction_id", sa.Text, nullable=False),
        sa.Column("opened_no", sa.BigInteger, nullable=False),
        sa.Column("closed_no", sa.BigInteger),
        sa.Column("closed_because", sa.String(8)),
        sa.Column("closed_by_reads", sa.String(65)),
        sa.Column("first_seen_at", UtcTime, nullable=False),
        sa.Column("observed_at", UtcTime, nullable=False),
        sa.Column("is_left_censored", sa.Boolean, nullable=False),
        *content(area, is_draft=False),
        # A version that no publication showed would be in history, but in no snapshot.
        sa.CheckConstraint("closed_no > opened_no", name="interval"),
        sa.CheckConstraint("(closed_no IS NULL) = (closed_because IS NULL)", name="closed"),
        sa.CheckConstraint("closed_because IN ('changed', 'gone', 'departed')", name="because"),
        sa.Index(f"ix_{name}_opened_no", "opened_no"),
        sa.Index(f"ix_{name}_person_id_restriction_id", "person_id", "restriction_id"),
        sa.Index(f"ix_{name}_restriction_id", "restriction_id"),
        # Never reuse the id of a deleted version, because copies know it from the feed.
        sqlite_autoincrement=True,
    )
    column = table.c
    closed, is_open = column.closed_no.is_not(None), column.closed_no.is_(None)
    sa.Index(f"ix_{name}_closed_no", column.closed_no, **partial(closed))
    key = column.person_id, column.restriction_id
    # The database itself refuses a second open version of a restriction.
    sa.Index(f"uq_{name}_open", *key, unique=True, **partial(is_open))
    return table


def _change_table(area: ResourceArea) -> sa.Table:
    return sa.Table(
        f"draft_{area.table}",
        metadata,
        sa.Column(
            "run_id", RowId, sa.ForeignKey("run.run_id"), primary_key=True, autoincrement=False
        ),
        sa.Column("person_id", RowId, primary_key=True, autoincrement=False),
        sa.Column("restriction_id", sa.Text, primary_key=True),
        sa.Column("op", sa.String(8), nullable=False),
        sa.Column("version_id", sa.BigInteger),
        sa.Column("closes", sa.Boolean, nullable=False),
        sa.Column("loses", sa.Boolean, nullable=False),
        sa.Column("first_seen_at", UtcTime),
        sa.Column("observed_at", UtcTime),
        sa.Column("closed_by_reads", sa.String(65)),
        *content(area, is_draft=True),
        # An update or a close without a version would change nothing, unnoticed.
        sa.CheckConstraint("(op = 'insert') = (version_id IS NULL)", name="version"),
        sa.CheckConstraint("op IN ('insert', 'update', 'close')", name="op"),
        sqlite_with_rowid=False,
    )


VERSIONS: Final[Mapping[str, sa.Table]] = {area.name: _version_table(area) for area in AREAS}
"""The version table of each area, by the area's name. It has all content ever published.

``closed_because`` is ``changed`` (another version follows), ``gone`` (two reads did not contain the
restriction) or ``departed`` (the person left the roster). ``closed_by_reads`` is the interval of
those two reads (ISO 8601). ``is_left_censored``: the restriction was there when this area of the
person was first read, or first read again after a departure, so its beginning was not seen.

The columns from ``restriction_group`` on are derived from the typed columns (``store.derived``).
They are in no digest and no comparison of versions.
"""
CHANGES: Final[Mapping[str, sa.Table]] = {area.name: _change_table(area) for area in AREAS}
"""The drafts of changes of each area, by the area's name.

``version_id`` is the version that an update or a close ends. ``closes``: the change takes a
restriction out of effect. ``loses``: a column loses its value.
"""

publication_code = sa.Table(
    "publication_code",
    metadata,
    sa.Column("publication_no", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("area", sa.String(40), primary_key=True),
    # Empty texts instead of NULL, because columns of a primary key cannot be NULL.
    sa.Column("code", sa.String(32), primary_key=True),
    sa.Column("level", sa.String(32), primary_key=True),
    sa.Column("cause", sa.String(32), primary_key=True),
    sa.Column("restriction_group", sa.String(16), primary_key=True),
    sa.Column("cohort", sa.String(200), primary_key=True),
    sa.Column("open", sa.BigInteger, nullable=False),
    sa.Column("in_effect", sa.BigInteger, nullable=False),
    sa.Column("added", sa.BigInteger, nullable=False),
    sa.Column("changed", sa.BigInteger, nullable=False),
    sa.Column("removed", sa.BigInteger, nullable=False),
    sa.Column("joined_with", sa.BigInteger, nullable=False),
    sa.Column("departed_with", sa.BigInteger, nullable=False),
    sa.Column("expired", sa.BigInteger, nullable=False),
    sa.Column("persons", sa.BigInteger, nullable=False),
    sa.Column("persons_in_effect", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""Restrictions of each publication by area, code, level, cause, group and cohort. An empty text
means that there is none. The group of an unknown code is empty as well.

``open`` is the previous ``open`` plus ``added`` and ``joined_with``, minus ``removed`` and
``departed_with``. ``expired`` restrictions are still open, but no longer in effect."""

publication_cohort = sa.Table(
    "publication_cohort",
    metadata,
    sa.Column("publication_no", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("cohort", sa.String(200), primary_key=True),
    *(sa.Column(name, sa.BigInteger) for name in PERSON_COUNTS),
    sqlite_with_rowid=False,
)
"""The persons of each publication by cohort. Their sums are the counts of the run."""

publication_figure = sa.Table(
    "publication_figure",
    metadata,
    sa.Column("publication_no", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("figure", sa.String(16), primary_key=True),
    sa.Column("restriction_group", sa.String(16), primary_key=True),
    sa.Column("code", sa.String(32), primary_key=True),
    sa.Column("level", sa.String(32), primary_key=True),
    sa.Column("cohort", sa.String(200), primary_key=True),
    sa.Column("restrictions", sa.BigInteger, nullable=False),
    sa.Column("persons", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""The figures of the report, each by its dimension (``core.effect.Figure``) and by cohort. Columns
that are not part of the dimension are empty.

In ``publication_code`` a person with two codes is in two rows. Here each row counts a person once.
A person has one cohort, so the persons of all cohorts may be added up.
"""

change_feed = sa.Table(
    "change_feed",
    metadata,
    sa.Column("seq", RowId, primary_key=True),
    sa.Column("publication_no", sa.BigInteger, nullable=False),
    sa.Column("happened_at", UtcTime, nullable=False),
    sa.Column("op", sa.String(16), nullable=False),
    sa.Column("area", sa.String(40)),
    sa.Column("version_id", sa.BigInteger),
    sa.Column("person_id", sa.BigInteger),
    sa.Index("ix_change_feed_person_id", "person_id"),
    sqlite_autoincrement=True,
)
"""The changes that a copy of the data has to apply, in order. Append-only. Contains no person keys:
``version_id`` and ``person_id`` match nothing once their rows are deleted."""

access_log = sa.Table(
    "access_log",
    metadata,
    sa.Column("access_id", RowId, primary_key=True),
    sa.Column("accessed_at", UtcTime, nullable=False),
    sa.Column("os_user", sa.String(100), nullable=False),
    sa.Column("login_user", sa.String(100)),
    sa.Column("host", sa.String(200), nullable=False),
    sa.Column("command", sa.String(40), nullable=False),
    sa.Column("person_key", sa.String(64)),
    sa.Column("purpose", sa.String(200)),
    sqlite_autoincrement=True,
)
"""Append-only: triggers refuse deletions of rows younger than 90 days, and all updates except that
of ``erase``, which sets ``person_key`` to NULL. Only keys of persons in the database are logged."""
