"""The tables: columns, keys, constraints and indexes.

A run writes drafts under its own id, and no view reads them. Publication takes the next number and
applies them: it closes the versions that they replace and opens new ones, with that number. At
publication n, readers saw ``opened_no <= n AND (closed_no IS NULL OR closed_no > n)``. Facts and
the change feed are written by a publication and refer to no other table, because their rows stay
for ever.

The first migration repeats these declarations, and a test compares both.
"""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ColumnElement,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    text,
)

from worker.core.area import AREAS, ColumnType, ResourceArea
from worker.errors import FailureKind
from worker.views import UtcTime

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
    }
)

RowId = BigInteger().with_variant(Integer, "sqlite")
"""SQLite numbers the rows of a table only by a column that is declared as INTEGER."""


def _partial(condition: ColumnElement[bool]) -> dict[str, Any]:
    """The options of an index over the rows that meet a condition."""
    return {"sqlite_where": condition, "postgresql_where": condition}


store_identity = Table(
    "store_identity",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("identity", String(16), nullable=False, server_default=text("''")),
    Column("key_check", String(64), nullable=False, server_default=text("''")),
    Column("service", Text, nullable=False, server_default=text("''")),
    Column("probed_contract", Text, nullable=False, server_default=text("''")),
    Column("last_person_id", BigInteger, nullable=False, server_default=text("0")),
    CheckConstraint("id = 1", name="one"),
)
"""One row, created by the migration.

``service`` is the PTS that the database was filled from. ``probed_contract`` is the contract under
which a probe last succeeded (``core.contract.fingerprints``). ``last_person_id`` only grows, so
that the id of an erased person is never used again.
"""

lease = Table(
    "lease",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("fencing_token", BigInteger, nullable=False, server_default=text("0")),
    Column("holder", String(64)),
    Column("host", String(220)),
    Column("acquired_at", UtcTime),
    Column("expires_at", UtcTime),
    CheckConstraint("id = 1", name="one"),
)
"""One row, created by the migration. Without a holder it is free. ``host`` is for messages."""

TOTALS: Final = (
    "persons_total",
    "persons_complete",
    "persons_stale",
    "persons_departed",
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
"""The counters of a run, as columns of the table ``run``."""

PERSON_COUNTS: Final = (
    "roster",
    "confirmed",
    "stale",
    *(f"failed_{kind}" for kind in FailureKind),
    "joined",
    "departed",
    "persons_in_effect",
)
"""Counts of persons of a publication: on the roster, confirmed, stale, joined, departed, and with
an active restriction. NULL in a run that is not published."""

run = Table(
    "run",
    metadata,
    Column("run_id", RowId, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("status", String(16), nullable=False),
    Column("areas", Text, nullable=False),
    Column("terms", Text, nullable=False, server_default=text("''")),
    Column("started_at", UtcTime, nullable=False),
    Column("finished_at", UtcTime),
    Column("attempts", Integer, nullable=False, server_default=text("1")),
    Column("attempt_at", UtcTime, nullable=False),
    Column("progressed_at", UtcTime),
    Column("exit_code", Integer),
    Column("reason", Text),
    Column("guard", Text),
    Column("worker_version", String(40), nullable=False),
    *(Column(name, BigInteger, nullable=False, server_default=text("0")) for name in TOTALS),
    Column("publication_no", BigInteger, unique=True),
    Column("published_at", UtcTime),
    Column("day", String(10)),
    *(Column(name, BigInteger) for name in PERSON_COUNTS),
    CheckConstraint("(status = 'published') = (publication_no IS NOT NULL)", name="published"),
    CheckConstraint("kind IN ('sync', 'backfill')", name="kind"),
    CheckConstraint(
        "status IN ('running', 'interrupted', 'published', 'withheld', 'abandoned')", name="status"
    ),
    Index("ix_run_status", "status"),
    sqlite_autoincrement=True,
)
"""The ledger. A published run is a publication: it has facts and stays for ever.

``terms`` is the contract, service and confirmation that the run began under (``App.terms``). Under
others it is not continued. ``attempts`` counts the processes that have worked on it.
``progressed_at`` is when it last wrote a complete read. ``guard`` is the guard's count as JSON
(``core.guard.GuardFacts``).
"""

drift = Table(
    "drift",
    metadata,
    Column("area", String(40), primary_key=True),
    Column("field", String(300), primary_key=True),
    Column("records", BigInteger, nullable=False),
    Column("run_id", RowId, nullable=False),
    Column("first_run", RowId, nullable=False),
    Column("first_seen_at", UtcTime, nullable=False),
)
"""Undeclared fields: in how many records of the last run each was seen, and since which run. The
runs are no foreign keys, because a run may go while the field stays."""

person = Table(
    "person",
    metadata,
    Column("person_id", RowId, primary_key=True, autoincrement=False),
    Column("person_key", String(64), nullable=False),
    Column("local_ref", Text),
    Column("cohort", Text),
    Column("first_no", BigInteger, nullable=False),
    Column("departed_no", BigInteger),
    Column("missed_no", BigInteger),
    Index("uq_person_person_key", "person_key", unique=True),
    Index("ix_person_local_ref", "local_ref"),
)
"""A published person. ``missed_no`` is the first of the full rosters in a row that did not name the
person. The second one departs them."""
Index(
    "ix_person_departed_no",
    person.c.departed_no,
    **_partial(person.c.departed_no.is_not(None)),
)

PROOF: Final = ("pages", "record_count", "digest", "first_read_at", "first_digest")
"""The completeness proof of an area. The last two columns are the first of two reads that agree."""
FAILURE: Final = ("failure_kind", "failure_status", "failure_reason", "failure_attempts")
"""Why an area could not be read."""


def _proof_and_failure() -> list[Column[Any]]:
    return [
        Column("pages", Integer),
        Column("record_count", Integer),
        Column("digest", String(32)),
        Column("first_read_at", UtcTime),
        Column("first_digest", String(32)),
        Column("failure_kind", String(16)),
        Column("failure_status", Integer),
        Column("failure_reason", Text),
        Column("failure_attempts", Integer),
    ]


person_area = Table(
    "person_area",
    metadata,
    Column(
        "person_id", RowId, ForeignKey("person.person_id"), primary_key=True, autoincrement=False
    ),
    Column("area", String(40), primary_key=True),
    Column("confirmed_at", UtcTime),
    Column("confirmed_no", BigInteger),
    *_proof_and_failure(),
    Column("failed_at", UtcTime),
    Column("failing_since", UtcTime),
    Column("failed_runs", Integer),
    sqlite_with_rowid=False,
    # Each night updates every row. With a free half of each page, the new row stays there (HOT),
    # and no index grows.
    postgresql_with={"fillfactor": 50},
)
"""An area of a published person: its last complete read, and its failure.

It is stale if it has a failure, or if its ``confirmed_no`` is missing or before the last full
publication of that area. No column that changes each night is in an index.
"""

draft = Table(
    "draft",
    metadata,
    Column("run_id", RowId, ForeignKey("run.run_id"), primary_key=True, autoincrement=False),
    Column("person_id", RowId, primary_key=True, autoincrement=False),
    Column("person_key", String(64), nullable=False),
    Column("is_new", Boolean, nullable=False),
    Column("pass_no", Integer, nullable=False),
    Column("compared_no", BigInteger, nullable=False),
    Column("local_ref", Text),
    Column("cohort", Text),
    sqlite_with_rowid=False,
)
"""A person of an open run, not published. No draft area: named by the roster, but not read.

``pass_no`` is the last pass that saw the person on the roster, or read an area, counted over all
attempts (``RunHandle.pass_no``). ``compared_no`` is the publication that the reads were compared
with, for people who look at drafts by hand.
"""
Index(
    "uq_draft_new",
    draft.c.run_id,
    draft.c.person_key,
    unique=True,
    # In the words of the queries, or SQLite's planner does not recognize the condition.
    sqlite_where=text("is_new = 1"),
    postgresql_where=draft.c.is_new,
)

COMPLETE: Final = "complete"
FAILED: Final = "failed"
UNCONFIRMED: Final = "unconfirmed"

draft_area = Table(
    "draft_area",
    metadata,
    Column("run_id", RowId, primary_key=True, autoincrement=False),
    Column("person_id", RowId, primary_key=True, autoincrement=False),
    Column("area", String(40), primary_key=True),
    Column("state", String(12), nullable=False),
    Column("read_at", UtcTime, nullable=False),
    Column("ids_digest", String(32)),
    *_proof_and_failure(),
    Column("retry_at", UtcTime),
    CheckConstraint(f"state IN ('{COMPLETE}', '{FAILED}', '{UNCONFIRMED}')", name="state"),
    sqlite_with_rowid=False,
)
"""A read of an area of a person in an open run.

``unconfirmed``: the area needs a second read, and ``ids_digest`` is the digest of the ids of the
first one. If the second read fails, the failure is noted and the first read stays. ``retry_at`` is
the time until which PTS has asked to wait. A withheld run leaves its failures until the next run
begins. All other drafts of a run that is not open are garbage.
"""

_TYPES: Final[Mapping[ColumnType, Any]] = {
    ColumnType.TEXT: Text,
    ColumnType.INTEGER: BigInteger,
    ColumnType.BOOLEAN: Boolean,
    ColumnType.TIME: UtcTime,
    ColumnType.JSON: Text,
}


def fact_columns(area: ResourceArea) -> tuple[str, ...]:
    """The columns by which facts count a restriction of the area."""
    rule = area.effect
    named = {"fact_code": rule.code, "fact_level": rule.level, "fact_cause": rule.cause}
    return tuple(name for name, source in named.items() if source)


def _content(area: ResourceArea, *, is_draft: bool) -> list[Column[Any]]:
    """The content of a restriction. The draft of a closing has none."""
    return [
        Column("content_hash", LargeBinary(16), nullable=is_draft),
        *(Column(column.name, _TYPES[column.type]) for column in area.columns),
        Column("extra", Text),
        Column("restriction_group", String(16)),
        Column("restricts", Boolean, nullable=is_draft),
        Column("effect_from", UtcTime),
        Column("effect_until", UtcTime),
        *(Column(name, String(32), nullable=is_draft) for name in fact_columns(area)),
    ]


def _version_table(area: ResourceArea) -> Table:
    name = f"{area.table}_version"
    table = Table(
        name,
        metadata,
        Column("version_id", RowId, primary_key=True),
        Column("person_id", RowId, ForeignKey("person.person_id"), nullable=False),
        Column("restriction_id", Text, nullable=False),
        Column("opened_no", BigInteger, nullable=False),
        Column("closed_no", BigInteger),
        Column("closed_because", String(8)),
        Column("closed_by_reads", String(65)),
        Column("first_seen_at", UtcTime, nullable=False),
        Column("observed_at", UtcTime, nullable=False),
        Column("is_left_censored", Boolean, nullable=False),
        *_content(area, is_draft=False),
        CheckConstraint("closed_no > opened_no", name="interval"),
        CheckConstraint("(closed_no IS NULL) = (closed_because IS NULL)", name="closed"),
        CheckConstraint("closed_because IN ('changed', 'gone', 'departed')", name="because"),
        Index(f"ix_{name}_opened_no", "opened_no"),
        Index(f"ix_{name}_person_id_restriction_id", "person_id", "restriction_id"),
        Index(f"ix_{name}_restriction_id", "restriction_id"),
        sqlite_autoincrement=True,
    )
    column = table.c
    closed, is_open = column.closed_no.is_not(None), column.closed_no.is_(None)
    Index(f"ix_{name}_closed_no", column.closed_no, **_partial(closed))
    key = column.person_id, column.restriction_id
    Index(f"uq_{name}_open", *key, unique=True, **_partial(is_open))
    return table


def _change_table(area: ResourceArea) -> Table:
    return Table(
        f"draft_{area.table}",
        metadata,
        Column("run_id", RowId, ForeignKey("run.run_id"), primary_key=True, autoincrement=False),
        Column("person_id", RowId, primary_key=True, autoincrement=False),
        Column("restriction_id", Text, primary_key=True),
        Column("op", String(8), nullable=False),
        Column("version_id", BigInteger),
        Column("closes", Boolean, nullable=False),
        Column("loses", Boolean, nullable=False),
        Column("first_seen_at", UtcTime),
        Column("observed_at", UtcTime),
        Column("closed_by_reads", String(65)),
        *_content(area, is_draft=True),
        CheckConstraint("(op = 'insert') = (version_id IS NULL)", name="version"),
        CheckConstraint("op IN ('insert', 'update', 'close')", name="op"),
        sqlite_with_rowid=False,
    )


VERSIONS: Final[Mapping[str, Table]] = {area.name: _version_table(area) for area in AREAS}
"""Every content that was ever published: the version table of each area, by the area's name.

``closed_because`` is ``changed`` (another version follows), ``gone`` (two reads did not hold the
restriction) or ``departed`` (the person left the roster). ``closed_by_reads`` is the interval of
those two reads (ISO 8601). ``is_left_censored``: the restriction was there when this area of the
person was first read, or first read again after a departure, so its beginning was not seen.

The columns from ``restriction_group`` on are derived from the typed columns (``store.derived``).
They are in no digest and no comparison of versions.
"""
CHANGES: Final[Mapping[str, Table]] = {area.name: _change_table(area) for area in AREAS}
"""The drafts of changes of each area, by the area's name.

``version_id`` is the version that an update or a close ends. ``closes``: the change takes a
restriction out of effect. ``loses``: a column loses its value.
"""

publication_code = Table(
    "publication_code",
    metadata,
    Column("publication_no", BigInteger, primary_key=True, autoincrement=False),
    Column("area", String(40), primary_key=True),
    Column("code", String(32), primary_key=True),
    Column("level", String(32), primary_key=True),
    Column("cause", String(32), primary_key=True),
    Column("restriction_group", String(16), primary_key=True),
    Column("cohort", String(200), primary_key=True),
    Column("open", BigInteger, nullable=False),
    Column("in_effect", BigInteger, nullable=False),
    Column("added", BigInteger, nullable=False),
    Column("changed", BigInteger, nullable=False),
    Column("removed", BigInteger, nullable=False),
    Column("persons", BigInteger, nullable=False),
    Column("persons_in_effect", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""Restrictions of each publication by area, code, level, cause, group and cohort. An empty text
means that there is none; the group of an unknown code is empty."""

publication_cohort = Table(
    "publication_cohort",
    metadata,
    Column("publication_no", BigInteger, primary_key=True, autoincrement=False),
    Column("cohort", String(200), primary_key=True),
    *(Column(name, BigInteger) for name in PERSON_COUNTS),
    sqlite_with_rowid=False,
)
"""The persons of each publication by cohort. Their sums are the counts of the run."""

publication_figure = Table(
    "publication_figure",
    metadata,
    Column("publication_no", BigInteger, primary_key=True, autoincrement=False),
    Column("figure", String(16), primary_key=True),
    Column("restriction_group", String(16), primary_key=True),
    Column("code", String(32), primary_key=True),
    Column("level", String(32), primary_key=True),
    Column("cohort", String(200), primary_key=True),
    Column("restrictions", BigInteger, nullable=False),
    Column("persons", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""The figures of the report, each by its dimension (``core.effect.Figure``) and by cohort. Columns
that are no part of the dimension are empty.

In ``publication_code`` a person with two codes is in two rows. Here each row counts a person once.
A person has one cohort, so the persons of all cohorts may be added up.
"""

change_feed = Table(
    "change_feed",
    metadata,
    Column("seq", RowId, primary_key=True),
    Column("publication_no", BigInteger, nullable=False),
    Column("happened_at", UtcTime, nullable=False),
    Column("op", String(16), nullable=False),
    Column("area", String(40)),
    Column("version_id", BigInteger),
    Column("person_id", BigInteger),
    Index("ix_change_feed_person_id", "person_id"),
    sqlite_autoincrement=True,
)
"""The changes that a copy of the data has to apply, in order. Append-only. Contains no person keys:
``version_id`` and ``person_id`` lead nowhere once their rows are gone."""

access_log = Table(
    "access_log",
    metadata,
    Column("access_id", RowId, primary_key=True),
    Column("accessed_at", UtcTime, nullable=False),
    Column("os_user", String(100), nullable=False),
    Column("login_user", String(100)),
    Column("host", String(200), nullable=False),
    Column("command", String(40), nullable=False),
    Column("person_key", String(64)),
    Column("purpose", String(200)),
    sqlite_autoincrement=True,
)
"""Append-only: triggers refuse deletions before 90 days, and every update but the one of ``erase``,
which sets ``person_key`` to NULL. It names only persons that the database holds."""
