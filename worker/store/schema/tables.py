"""The tables, as SQLAlchemy Core.

Three ideas carry everything here (``docs/internals.md`` draws them):

* A **version row** says in which run it opened and in which it closed. Published, current and
  as-of are joins on ``run``; nothing is copied when a run is published.
* A **person_area** row holds the proof of the latest read, and beside it the one that the last
  published run saw (``prev_*``). Readers take the published one of the two.
* Whatever an unpublished run wrote can be undone by its run number alone (``store.runs.undo``).
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.sql.selectable import FromClause

from worker.areas import AREAS
from worker.core.area import ResourceArea
from worker.store.schema import base, fact_tables  # noqa: F401 - the facts are tables, too
from worker.store.schema.base import Key
from worker.utc_time import UtcTime

metadata: Final = base.metadata

store_identity = Table(
    "store_identity",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("identity", String(16), nullable=False, server_default=text("''")),
    Column("key_check", String(64), nullable=False, server_default=text("''")),
    Column("probed_contract", Text, nullable=False, server_default=text("''")),
    CheckConstraint("id = 1", name="one"),
)
"""One row, which the migration makes. ``probed_contract`` is the contract under which a probe last
succeeded (``core.contract.fingerprints``)."""

lease = Table(
    "lease",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("fencing_token", BigInteger, nullable=False, server_default=text("0")),
    Column("holder", String(64)),
    Column("host", String(200)),
    Column("process", String(200)),
    Column("acquired_at", UtcTime),
    Column("expires_at", UtcTime),
    CheckConstraint("id = 1", name="one"),
)
"""One row, which the migration makes. Without a holder it is free."""

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

run = Table(
    "run",
    metadata,
    Column("run_id", Key, primary_key=True, autoincrement=True),
    Column("kind", String(16), nullable=False),
    Column("status", String(16), nullable=False),
    Column("areas", Text, nullable=False),
    Column("contract", Text, nullable=False, server_default=text("''")),
    Column("started_at", UtcTime, nullable=False),
    Column("finished_at", UtcTime),
    Column("published_at", UtcTime),
    Column("publication_no", BigInteger),
    Column("exit_code", Integer),
    Column("reason", Text),
    Column("worker_version", String(40), nullable=False),
    Column("open_before", BigInteger, nullable=False, server_default=text("0")),
    Column("holders_before", BigInteger, nullable=False, server_default=text("0")),
    Column("persons_before", BigInteger, nullable=False, server_default=text("0")),
    *(Column(name, BigInteger, nullable=False, server_default=text("0")) for name in TOTALS),
    CheckConstraint(
        "status IN ('running', 'interrupted', 'published', 'withheld', 'abandoned')", name="status"
    ),
    CheckConstraint("kind IN ('sync', 'backfill')", name="kind"),
    CheckConstraint("(status = 'published') = (publication_no IS NOT NULL)", name="published"),
    UniqueConstraint("publication_no"),
    Index("ix_run_status", "status"),
    sqlite_autoincrement=True,
)

attempt = Table(
    "run_attempt",
    metadata,
    Column("attempt_id", Key, primary_key=True, autoincrement=True),
    Column("run_id", Key, ForeignKey("run.run_id"), nullable=False, index=True),
    Column("host", String(200), nullable=False),
    Column("started_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime),
    Column("progressed_at", UtcTime),
    Column("exit_code", Integer),
    Column("requests", BigInteger, nullable=False, server_default=text("0")),
    Column("retries", BigInteger, nullable=False, server_default=text("0")),
    sqlite_autoincrement=True,
)
"""``progressed_at`` is when it last wrote a person's area that was read to its end."""

person = Table(
    "person",
    metadata,
    Column("person_id", Key, primary_key=True, autoincrement=True),
    Column("person_key", String(64), nullable=False),
    Column("first_run", Key, ForeignKey("run.run_id"), nullable=False, index=True),
    Column("departed_run", Key, ForeignKey("run.run_id")),
    Column("local_ref", Text),
    Column("local_ref_run", Key, ForeignKey("run.run_id"), nullable=False, index=True),
    Column("prev_local_ref", Text, index=True),
    Column("not_sent_by", Key),
    Column("cohort", Text),
    Column("prev_cohort", Text),
    Index("uq_person_person_key", "person_key", unique=True),
    sqlite_autoincrement=True,
)
"""``local_ref_run`` is the run that wrote ``local_ref`` and ``cohort``; readers see those with
``prev_``, which its publication sets (``store.runs.labels``). ``not_sent_by`` is the run
attempt that last found the person on the roster under an identifier that is not sent to PTS. It is
no foreign key: an attempt may go while the person stays."""

person_label = Table(
    "person_label",
    metadata,
    Column("label_id", Key, primary_key=True, autoincrement=True),
    Column("person_id", Key, ForeignKey("person.person_id"), nullable=False),
    Column("since_no", BigInteger, nullable=False),
    Column("until_no", BigInteger, nullable=False),
    Column("local_ref", Text, index=True),
    Column("cohort", Text),
    UniqueConstraint("person_id", "since_no"),
    sqlite_autoincrement=True,
)
"""What a person was called from one publication until before another; 0 is since the first.

What they are called now stands in ``person``. A row is written by the publication that changes
that."""

person_area = Table(
    "person_area",
    metadata,
    Column("person_id", Key, ForeignKey("person.person_id"), primary_key=True),
    Column("area", String(40), primary_key=True),
    Column("run_id", Key, ForeignKey("run.run_id"), nullable=False),
    Column("attempt_id", Key, ForeignKey("run_attempt.attempt_id"), nullable=False),
    Column("is_complete", Boolean(create_constraint=False), nullable=False),
    Column("confirmed_at", UtcTime),
    Column("pages", Integer),
    Column("record_count", Integer),
    Column("digest", String(32)),
    Column("first_read_at", UtcTime),
    Column("first_record_count", Integer),
    Column("first_digest", String(32)),
    Column("prev_run_id", Key, ForeignKey("run.run_id")),
    Column("prev_is_complete", Boolean(create_constraint=False)),
    Column("prev_confirmed_at", UtcTime),
    Column("prev_pages", Integer),
    Column("prev_record_count", Integer),
    Column("prev_digest", String(32)),
    Column("prev_first_read_at", UtcTime),
    Column("prev_first_record_count", Integer),
    Column("prev_first_digest", String(32)),
    sqlite_with_rowid=False,
)

FIRST_READ: Final = ("first_read_at", "first_record_count", "first_digest")
"""The columns of ``person_area`` that hold the read which the proof's own read has confirmed."""
PROOF_COLUMNS: Final = (
    "run_id",
    "is_complete",
    "confirmed_at",
    "pages",
    "record_count",
    "digest",
    *FIRST_READ,
)
"""The columns of ``person_area`` that have a published copy (``prev_``)."""

drift = Table(
    "drift",
    metadata,
    Column("area", String(40), primary_key=True),
    Column("field", String(300), primary_key=True),
    Column("records", BigInteger, nullable=False),
    Column("run_id", Key, nullable=False),
    Column("first_run", Key, nullable=False),
    Column("first_seen_at", UtcTime, nullable=False),
)
"""Fields that the contract does not declare: in how many records the last run that saw one saw it,
and since which run. The runs are no foreign keys: a run may go while the field stays."""

failure = Table(
    "failure",
    metadata,
    Column("person_id", Key, ForeignKey("person.person_id"), primary_key=True),
    Column("area", String(40), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("status", Integer),
    Column("reason", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("runs", Integer, nullable=False),
    Column("first_at", UtcTime, nullable=False),
    Column("last_at", UtcTime, nullable=False),
    Column("first_run", Key, ForeignKey("run.run_id"), nullable=False),
    Column("last_run", Key, ForeignKey("run.run_id"), nullable=False),
)
"""What cannot be read at present. A row goes when its area is read completely again."""

access_log = Table(
    "access_log",
    metadata,
    Column("access_id", Key, primary_key=True, autoincrement=True),
    Column("accessed_at", UtcTime, nullable=False),
    Column("os_user", String(100), nullable=False),
    Column("login_user", String(100)),
    Column("host", String(200), nullable=False),
    Column("command", String(40), nullable=False),
    Column("person_id", Key),
    Column("purpose", String(200)),
    sqlite_autoincrement=True,
)
"""Only grows: triggers refuse changes, and deletions before ``access.KEPT_AT_LEAST``.

``person_id`` is no foreign key: the row stays when the person is erased, and names nobody then.
"""

_TYPES: Final[Mapping[str, Any]] = {
    "text": Text,
    "integer": BigInteger,
    "boolean": Boolean(create_constraint=False),
    "time": UtcTime,
    "json": Text,
}


def _version_table(area: ResourceArea) -> Table:
    name = f"{area.table}_version"
    return Table(
        name,
        metadata,
        Column("version_id", Key, primary_key=True, autoincrement=True),
        Column("person_id", Key, ForeignKey("person.person_id"), nullable=False),
        Column("restriction_id", Text, nullable=False),
        Column("opened_run", Key, ForeignKey("run.run_id"), nullable=False, index=True),
        Column("closed_run", Key, ForeignKey("run.run_id")),
        Column("first_seen_at", UtcTime, nullable=False),
        Column("observed_at", UtcTime, nullable=False),
        Column("content_hash", LargeBinary(16), nullable=False),
        *(Column(column.name, _TYPES[column.type]) for column in area.columns),
        Column("extra", Text),
        CheckConstraint("closed_run <> opened_run", name="interval"),
        Index(f"ix_{name}_person_id_restriction_id", "person_id", "restriction_id"),
        Index(f"ix_{name}_restriction_id", "restriction_id"),
        sqlite_autoincrement=True,
    )


VERSIONS: Final[Mapping[str, Table]] = {area.name: _version_table(area) for area in AREAS}
"""The version table of each area, by the area's name. Its partial indexes: ``partial_indexes``."""


@cache
def alias_of(table: Table, name: str) -> FromClause:
    """The table under another name. It is made once: SQLAlchemy copies every column for it."""
    return table.alias(name)
