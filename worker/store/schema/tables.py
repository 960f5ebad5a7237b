"""The tables, as SQLAlchemy Core.

What readers read and what a run writes are apart (``docs/architecture.md``):

* **Drafts.** A run writes ``draft`` (a row a person: who was seen on the roster, and of each area
  the proof, the failure, or that a first read waits for its second) and a row of
  ``draft_AREA`` for each change: insert, update or close. Both stand under the run's id, and no
  view reads them. A person whom no publication knows has an id from ``store_identity``, and their
  key in the draft.
* **Publication** takes the next number and applies the drafts of one run in one transaction, by
  statements over them. What it replaces is closed, and what it brings is opened, with that number.
* **Versions** (``AREA_version``) hold every content that was ever published. What readers saw at
  publication n is ``opened_no <= n AND (closed_no IS NULL OR closed_no > n)``.
* **person** is one row for each person that was ever published: what the roster calls them today,
  and of each area when it was last confirmed and by which proof, or why it could not be read.
* **Failures** are columns of both: those of a person are what the last publication left, those in
  drafts what the latest run met. A run that is withheld leaves its failures in ``draft`` until the
  next run begins; all other drafts of a run that is not open are garbage.
* **Facts and the change feed** are written by a publication and have no foreign keys: their rows
  stay for ever.

Columns of one area are named after it (``area_column``), so that both areas of a person are one
row, and one statement applies them. Indexes, checks, and how SQLite lays a table out are said once,
by the migration.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    text,
)

from worker.areas import AREAS
from worker.core.area import ResourceArea
from worker.core.model import FailureKind
from worker.views import UtcTime

metadata = MetaData()

Key: Final = BigInteger().with_variant(Integer(), "sqlite")
"""64-bit keys; SQLite gives row ids to INTEGER PRIMARY KEY only."""


def area_column(area: ResourceArea, name: str) -> str:
    """The column of ``person`` or ``draft`` that holds this of an area."""
    return f"{area.table}_{name}"


store_identity = Table(
    "store_identity",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("identity", String(16), nullable=False, server_default=text("''")),
    Column("key_check", String(64), nullable=False, server_default=text("''")),
    Column("service", Text, nullable=False, server_default=text("''")),
    Column("probed_contract", Text, nullable=False, server_default=text("''")),
    Column("last_person_id", BigInteger, nullable=False, server_default=text("0")),
)
"""One row, which the migration makes.

``service`` is the PTS that it is filled from. ``probed_contract`` is the contract under which a
probe last succeeded (``core.contract.fingerprints``). ``last_person_id`` only grows: the id of
somebody erased is given to nobody else.
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
)
"""One row, which the migration makes. Without a holder it is free. ``host`` is for messages."""

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
"""Counts of persons of a publication: on the roster, those who came and went, and those with a
restriction in effect. Readers take NULL for unknown."""


def person_counts() -> Iterator[Column[int]]:
    """A column for each of ``PERSON_COUNTS``; NULL before the run is published."""
    yield from (Column(name, BigInteger) for name in PERSON_COUNTS)


run = Table(
    "run",
    metadata,
    Column("run_id", Key, primary_key=True, autoincrement=True),
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
    Column("publication_no", BigInteger),
    Column("published_at", UtcTime),
    Column("day", String(10)),
    *person_counts(),
)
"""The ledger. A run that is published is a publication, with its facts, and stays for ever.

``terms`` is what it began under (``App.terms``): under others it is not continued.
``attempts`` counts the processes that have worked on it, the last since ``attempt_at``;
``progressed_at`` is when it last wrote a person's area that was read to its end. ``guard`` is what
the guard counted, as JSON (``core.guard.GuardFacts``).
"""

PROOF: Final[Mapping[str, Any]] = {
    "pages": Integer,
    "record_count": Integer,
    "digest": String(32),
    "first_read_at": UtcTime,
    "first_digest": String(32),
}
"""What a complete read leaves of an area. The last two are the read that it has confirmed, which
held the same restrictions."""
FAILURE: Final[Mapping[str, Any]] = {
    "failure_kind": String(16),
    "failure_status": Integer,
    "failure_reason": Text,
    "failure_attempts": Integer,
}
"""Why an area could not be read."""


def _columns(kinds: Mapping[str, Any]) -> Iterator[Column[Any]]:
    for area in AREAS:
        yield from (Column(area_column(area, name), kind) for name, kind in kinds.items())


person = Table(
    "person",
    metadata,
    Column("person_id", Key, primary_key=True, autoincrement=False),
    Column("person_key", String(64), nullable=False),
    Column("local_ref", Text),
    Column("cohort", Text),
    Column("first_no", BigInteger, nullable=False),
    Column("departed_no", BigInteger),
    Column("missed_no", BigInteger),
    *_columns(
        {
            "confirmed_at": UtcTime,
            "confirmed_no": BigInteger,
            **PROOF,
            **FAILURE,
            "failed_at": UtcTime,
            "failing_since": UtcTime,
            "failed_runs": Integer,
        }
    ),
)
"""Readers read it: nothing in it is unpublished.

``missed_no`` is the first of the full rosters in a row that did not name the person; the second
one departs them. An area is stale if it has a failure, or if its ``confirmed_no`` is missing or
before the last full publication of that area. No column that changes each night is in an index, so
that PostgreSQL updates rows in place (HOT).
"""

draft = Table(
    "draft",
    metadata,
    Column("run_id", Key, ForeignKey("run.run_id"), primary_key=True, autoincrement=False),
    Column("person_id", Key, primary_key=True, autoincrement=False),
    Column("person_key", String(64), nullable=False),
    Column("is_new", Boolean(create_constraint=False), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("compared_no", BigInteger, nullable=False),
    Column("local_ref", Text),
    Column("cohort", Text),
    *_columns(
        {
            "state": String(12),
            "read_at": UtcTime,
            **PROOF,
            **FAILURE,
        }
    ),
)
"""What a run has read of a person, not published.

``attempt`` is the last attempt at the run that saw the person on the roster. ``compared_no`` is the
publication that the reads were compared with. The state of an area is ``complete``, ``failed``, or
``unconfirmed``: it needs a second read, and ``first_digest`` is of the ids that the first one held.
No state: it was not read in this run.
"""

COMPLETE: Final = "complete"
FAILED: Final = "failed"
UNCONFIRMED: Final = "unconfirmed"

access_log = Table(
    "access_log",
    metadata,
    Column("access_id", Key, primary_key=True, autoincrement=True),
    Column("accessed_at", UtcTime, nullable=False),
    Column("os_user", String(100), nullable=False),
    Column("login_user", String(100)),
    Column("host", String(200), nullable=False),
    Column("command", String(40), nullable=False),
    Column("person_key", String(64)),
    Column("purpose", String(200)),
)
"""Only grows: triggers refuse deletions before 90 days, and every change but the
one that ``erase`` makes: ``person_key`` becomes NULL. Whom the database does not know is named in
it, too."""

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
    *(
        Column(name, BigInteger, nullable=False)
        for name in (
            "open",
            "in_effect",
            "added",
            "changed",
            "removed",
            "persons",
            "persons_in_effect",
        )
    ),
)
"""Restrictions of each publication by area, code, level, cause, group and cohort; what a row does
not have is empty, as is the group of a code that is not known."""

publication_cohort = Table(
    "publication_cohort",
    metadata,
    Column("publication_no", BigInteger, primary_key=True, autoincrement=False),
    Column("cohort", String(200), primary_key=True),
    *person_counts(),
)
"""The persons of each publication by cohort; their sums are those of the run."""

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
)
"""What the report shows of each publication: restrictions, and the persons who have them, each
divided in one way (``core.effect.Figure``) and by cohort. What does not divide a figure is empty.

In ``publication_code`` a person with two codes stands twice; here everybody is counted once in each
row, and a person has one cohort, so the persons of a row over all cohorts are its sum.
"""

change_feed = Table(
    "change_feed",
    metadata,
    Column("seq", Key, primary_key=True, autoincrement=True),
    Column("publication_no", BigInteger, nullable=False),
    Column("happened_at", UtcTime, nullable=False),
    Column("op", String(16), nullable=False),
    Column("area", String(40)),
    Column("version_id", BigInteger),
    Column("person_id", BigInteger),
)
"""What readers may have copied and must change, in order. It only grows, and names nobody itself:
``version_id`` and ``person_id`` are no foreign keys, and lead nowhere once their rows are gone."""

_TYPES: Final[Mapping[str, Any]] = {
    "text": Text,
    "integer": BigInteger,
    "boolean": Boolean(create_constraint=False),
    "time": UtcTime,
    "json": Text,
}


def _content(area: ResourceArea) -> Iterator[Column[Any]]:
    """What a restriction says, as a version and as a draft of one."""
    yield from (Column(column.name, _TYPES[column.type]) for column in area.columns)
    yield Column("extra", Text)


def _version_table(area: ResourceArea) -> Table:
    name = f"{area.table}_version"
    return Table(
        name,
        metadata,
        Column("version_id", Key, primary_key=True, autoincrement=True),
        Column("person_id", Key, ForeignKey("person.person_id"), nullable=False),
        Column("restriction_id", Text, nullable=False),
        Column("opened_no", BigInteger, nullable=False),
        Column("closed_no", BigInteger),
        Column("first_seen_at", UtcTime, nullable=False),
        Column("observed_at", UtcTime, nullable=False),
        Column("content_hash", LargeBinary(16), nullable=False),
        *_content(area),
    )


def _change_table(area: ResourceArea) -> Table:
    return Table(
        f"draft_{area.table}",
        metadata,
        Column("run_id", Key, ForeignKey("run.run_id"), primary_key=True, autoincrement=False),
        Column("person_id", Key, primary_key=True, autoincrement=False),
        Column("restriction_id", Text, primary_key=True),
        Column("op", String(8), nullable=False),
        Column("version_id", BigInteger),
        Column("closes", Boolean(create_constraint=False), nullable=False),
        Column("loses", Boolean(create_constraint=False), nullable=False),
        Column("first_seen_at", UtcTime),
        Column("observed_at", UtcTime),
        Column("content_hash", LargeBinary(16)),
        *_content(area),
    )


VERSIONS: Final[Mapping[str, Table]] = {area.name: _version_table(area) for area in AREAS}
"""The version table of each area, by the area's name."""
CHANGES: Final[Mapping[str, Table]] = {area.name: _change_table(area) for area in AREAS}
"""The drafts of changes of each area, by the area's name.

``version_id`` is the version that an update or a close ends. ``closes``: it takes a restriction out
of effect, by closing it or by what it says now. ``loses``: a column loses its value.
"""
