"""The tables, as SQLAlchemy Core: their columns, and of which kind each is.

Keys, references, lengths, checks, defaults and indexes are said once, by the migration;
``docs/reference/data-model.md`` shows both together. Columns of one area are named after it
(``area_column``), so that both areas of a person are one row, and one statement applies them.

A run writes drafts under its own id, and no view reads them. Publication takes the next number and
applies them: what it replaces is closed, and what it brings is opened, with that number. What
readers saw at publication n is ``opened_no <= n AND (closed_no IS NULL OR closed_no > n)``. Facts
and the change feed are written by a publication and refer to nothing: their rows stay for ever.
"""

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from sqlalchemy import BigInteger, Boolean, Column, LargeBinary, MetaData, Table, Text

from worker.core.area import AREAS, ColumnType, ResourceArea
from worker.errors import FailureKind
from worker.views import UtcTime

metadata = MetaData()

_Columns: TypeAlias = Mapping[str, Any]
"""Their types by name, in order."""


def _of(kind: Any, names: str) -> dict[str, Any]:
    return dict.fromkeys(names.split(), kind)


def area_column(area: ResourceArea, name: str) -> str:
    """The column of ``person`` or ``draft`` that holds this of an area."""
    return f"{area.table}_{name}"


def _of_areas(columns: _Columns) -> dict[str, Any]:
    return {area_column(area, name): kind for area in AREAS for name, kind in columns.items()}


def _table(name: str, columns: _Columns) -> Table:
    return Table(name, metadata, *(Column(column, kind) for column, kind in columns.items()))


store_identity = _table(
    "store_identity",
    _of(BigInteger, "id")
    | _of(Text, "identity key_check service probed_contract")
    | _of(BigInteger, "last_person_id"),
)
"""One row, which the migration makes.

``service`` is the PTS that it is filled from. ``probed_contract`` is the contract under which a
probe last succeeded (``core.contract.fingerprints``). ``last_person_id`` only grows: the id of
somebody erased is given to nobody else.
"""

lease = _table(
    "lease",
    _of(BigInteger, "id fencing_token")
    | _of(Text, "holder host")
    | _of(UtcTime, "acquired_at expires_at"),
)
"""One row, which the migration makes. Without a holder it is free. ``host`` is for messages."""

_COUNTERS: Final = _of(
    BigInteger,
    "persons_total persons_complete persons_stale persons_departed persons_not_sent roster_faults "
    "areas_complete areas_failed rows_read rows_opened rows_changed rows_closed rows_unchanged "
    "requests retries",
)
TOTALS: Final = tuple(_COUNTERS)
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

run = _table(
    "run",
    _of(BigInteger, "run_id")
    | _of(Text, "kind status areas terms")
    | _of(UtcTime, "started_at finished_at")
    | _of(BigInteger, "attempts")
    | _of(UtcTime, "attempt_at progressed_at")
    | _of(BigInteger, "exit_code")
    | _of(Text, "reason guard worker_version")
    | _COUNTERS
    | _of(BigInteger, "publication_no")
    | _of(UtcTime, "published_at")
    | _of(Text, "day")
    | dict.fromkeys(PERSON_COUNTS, BigInteger),
)
"""The ledger. A run that is published is a publication, with its facts, and stays for ever.

``terms`` is what it began under (``App.terms``): under others it is not continued.
``attempts`` counts the processes that have worked on it; ``progressed_at`` is when it last wrote a
person's area that was read to its end. ``guard`` is what the guard counted, as JSON
(``core.guard.GuardFacts``).
"""

PROOF: Final = (
    _of(BigInteger, "pages record_count")
    | _of(Text, "digest")
    | _of(UtcTime, "first_read_at")
    | _of(Text, "first_digest")
)
"""What a complete read leaves of an area. The last two are the read that it has confirmed, which
held the same restrictions."""
FAILURE: Final = (
    _of(Text, "failure_kind")
    | _of(BigInteger, "failure_status")
    | _of(Text, "failure_reason")
    | _of(BigInteger, "failure_attempts")
)
"""Why an area could not be read."""

person = _table(
    "person",
    _of(BigInteger, "person_id")
    | _of(Text, "person_key local_ref cohort")
    | _of(BigInteger, "first_no departed_no missed_no")
    | _of_areas(
        _of(UtcTime, "confirmed_at")
        | _of(BigInteger, "confirmed_no")
        | PROOF
        | FAILURE
        | _of(UtcTime, "failed_at failing_since")
        | _of(BigInteger, "failed_runs")
    ),
)
"""Readers read it: nothing in it is unpublished.

``missed_no`` is the first of the full rosters in a row that did not name the person; the second
one departs them. An area is stale if it has a failure, or if its ``confirmed_no`` is missing or
before the last full publication of that area. No column that changes each night is in an index, so
that PostgreSQL updates rows in place (HOT).
"""

draft = _table(
    "draft",
    _of(BigInteger, "run_id person_id")
    | _of(Text, "person_key")
    | _of(Boolean, "is_new")
    | _of(BigInteger, "attempt compared_no")
    | _of(Text, "local_ref cohort")
    | _of_areas(_of(Text, "state") | _of(UtcTime, "read_at") | PROOF | FAILURE),
)
"""What a run has read of a person, not published.

``attempt`` is the last pass over the roster that saw or read the person, counted over all attempts
(``RunHandle.pass_no``). ``compared_no`` is the
publication that the reads were compared with: no statement reads it, but people who look at drafts
by hand do. The state of an area is ``complete``, ``failed``, or ``unconfirmed``: it needs a second
read, and ``first_digest`` is of the ids that the first one held. No state: it was not read in this
run. A run that is withheld leaves its failures here until the next one begins; all other drafts of
a run that is not open are garbage.
"""

COMPLETE: Final = "complete"
FAILED: Final = "failed"
UNCONFIRMED: Final = "unconfirmed"

access_log = _table(
    "access_log",
    _of(BigInteger, "access_id")
    | _of(UtcTime, "accessed_at")
    | _of(Text, "os_user login_user host command person_key purpose"),
)
"""Only grows: triggers refuse deletions before 90 days, and every change but the
one that ``erase`` makes: ``person_key`` becomes NULL. It names only persons whom the database
knows."""

drift = _table(
    "drift",
    _of(Text, "area field")
    | _of(BigInteger, "records run_id first_run")
    | _of(UtcTime, "first_seen_at"),
)
"""Fields that the contract does not declare: in how many records the last run that saw one saw it,
and since which run. The runs are no foreign keys: a run may go while the field stays."""

publication_code = _table(
    "publication_code",
    _of(BigInteger, "publication_no")
    | _of(Text, "area code level cause restriction_group cohort")
    | _of(BigInteger, "open in_effect added changed removed persons persons_in_effect"),
)
"""Restrictions of each publication by area, code, level, cause, group and cohort; what a row does
not have is empty, as is the group of a code that is not known."""

publication_cohort = _table(
    "publication_cohort",
    _of(BigInteger, "publication_no")
    | _of(Text, "cohort")
    | dict.fromkeys(PERSON_COUNTS, BigInteger),
)
"""The persons of each publication by cohort; their sums are those of the run."""

publication_figure = _table(
    "publication_figure",
    _of(BigInteger, "publication_no")
    | _of(Text, "figure restriction_group code level cohort")
    | _of(BigInteger, "restrictions persons"),
)
"""What the report shows of each publication: restrictions, and the persons who have them, each
divided in one way (``core.effect.Figure``) and by cohort. What does not divide a figure is empty.

In ``publication_code`` a person with two codes stands twice; here everybody is counted once in each
row, and a person has one cohort, so the persons of a row over all cohorts are its sum.
"""

change_feed = _table(
    "change_feed",
    _of(BigInteger, "seq publication_no")
    | _of(UtcTime, "happened_at")
    | _of(Text, "op area")
    | _of(BigInteger, "version_id person_id"),
)
"""What readers may have copied and must change, in order. It only grows, and names nobody itself:
``version_id`` and ``person_id`` lead nowhere once their rows are gone."""

_TYPES: Final[Mapping[str, Any]] = {
    ColumnType.TEXT: Text,
    ColumnType.INTEGER: BigInteger,
    ColumnType.BOOLEAN: Boolean,
    ColumnType.TIME: UtcTime,
    ColumnType.JSON: Text,
}


def _content(area: ResourceArea) -> dict[str, Any]:
    """What a restriction says, as a version and as a draft of one."""
    columns = {column.name: _TYPES[column.type] for column in area.columns}
    return {"content_hash": LargeBinary} | columns | _of(Text, "extra")


def _version_table(area: ResourceArea) -> Table:
    return _table(
        f"{area.table}_version",
        _of(BigInteger, "version_id person_id")
        | _of(Text, "restriction_id")
        | _of(BigInteger, "opened_no closed_no")
        | _of(UtcTime, "first_seen_at observed_at")
        | _of(Boolean, "is_left_censored")
        | _content(area),
    )


def _change_table(area: ResourceArea) -> Table:
    return _table(
        f"draft_{area.table}",
        _of(BigInteger, "run_id person_id")
        | _of(Text, "restriction_id op")
        | _of(BigInteger, "version_id")
        | _of(Boolean, "closes loses")
        | _of(UtcTime, "first_seen_at observed_at")
        | _content(area),
    )


VERSIONS: Final[Mapping[str, Table]] = {area.name: _version_table(area) for area in AREAS}
"""Every content that was ever published: the version table of each area, by the area's name.

``is_left_censored``: the restriction stood when this area of the person was first read, or read
again after a departure, so nobody saw it begin.
"""
CHANGES: Final[Mapping[str, Table]] = {area.name: _change_table(area) for area in AREAS}
"""The drafts of changes of each area, by the area's name.

``version_id`` is the version that an update or a close ends. ``closes``: it takes a restriction out
of effect, by closing it or by what it says now. ``loses``: a column loses its value.
"""
