"""The statements of a publication, in the order of their execution.

``docs/reference/publication.md`` prints them for a DBA. ``publication.py`` executes them in one
transaction, and ``facts.py`` counts their result.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import sqlalchemy as sa

from worker.core.area import AREAS, ResourceArea
from worker.core.diff import Op
from worker.errors import FailureKind
from worker.store.dialects import upsert
from worker.store.runs.new_publication import (
    NewPublication,
    Query,
    has_draft,
    is_in_feed_since,
    last_full_publication_no,
)
from worker.store.schema.columns import FAILURE, PROOF
from worker.store.schema.tables import (
    CHANGES,
    COMPLETE,
    FAILED,
    UNCONFIRMED,
    VERSIONS,
    change_feed,
    draft,
    draft_area,
    person,
    person_area,
)
from worker.views import UtcTime

_NOT_READ_AGAIN: Final = (
    "no second read was made: the person is no longer on the roster of this run"
)
_FAILING: Final = ("failed_at", "failing_since", "failed_runs")


def _was_read() -> sa.Exists:
    """Whether the run has read an area of the draft's person."""
    return sa.exists().where(
        draft_area.c.run_id == draft.c.run_id, draft_area.c.person_id == draft.c.person_id
    )


# 1. The roster: delete drafts that the last attempt did not see, and mark absent persons


def delete_unseen_drafts(new: NewPublication) -> Iterator[sa.Delete]:
    """Delete the reads of persons that only an earlier attempt has seen on the roster."""
    yield sa.delete(draft).where(draft.c.run_id == new.run_id, draft.c.pass_no < new.first_pass_no)
    yield from delete_orphans([new.run_id])


def delete_orphans(run_ids: Sequence[int]) -> Iterator[sa.Delete]:
    """Delete reads and changes of persons without a draft."""
    # These tables have no foreign key to `draft`, so its deletions do not cascade.
    for table in (draft_area, *CHANGES.values()):
        is_drafted = sa.exists().where(
            draft.c.run_id == table.c.run_id, draft.c.person_id == table.c.person_id
        )
        yield sa.delete(table).where(table.c.run_id.in_(run_ids), ~is_drafted)


def mark_departed_persons(new: NewPublication) -> sa.Update:
    """Mark persons missing from two full rosters in a row as departed."""
    is_second = sa.and_(person.c.missed_no.is_not(None), _is_absent(new))
    return sa.update(person).where(is_second).values(departed_no=new.number, missed_no=None)


def mark_missed_persons(new: NewPublication) -> sa.Update:
    """Mark persons missing from a full roster for the first time. Runs after departures."""
    is_first = sa.and_(person.c.missed_no.is_(None), _is_absent(new))
    return sa.update(person).where(is_first).values(missed_no=new.number)


def _is_absent(new: NewPublication) -> sa.ColumnElement[bool]:
    return sa.and_(person.c.departed_no.is_(None), ~sa.exists().where(has_draft(new)))


# 2. The changes that readers see


def fail_unconfirmed_reads(new: NewPublication) -> sa.Update:
    """Turn unconfirmed first reads into failures, because one read is not enough to publish."""
    read = draft_area.c
    failure = {
        "state": FAILED,
        # If the second read was made and failed, keep its failure: it is the better explanation.
        "failure_kind": sa.func.coalesce(read.failure_kind, FailureKind.UNSTABLE.value),
        "failure_reason": sa.func.coalesce(read.failure_reason, _NOT_READ_AGAIN),
        "failure_attempts": sa.func.coalesce(read.failure_attempts, read.pages),
        # Only a read that still waits for its second one has this digest.
        "ids_digest": None,
    }
    is_waiting = sa.and_(draft_area.c.run_id == new.run_id, draft_area.c.state == UNCONFIRMED)
    return sa.update(draft_area).where(is_waiting).values(failure)


def close_versions(new: NewPublication, area: ResourceArea) -> sa.Update:
    """Close versions that changed or are gone."""
    versions, changes = VERSIONS[area.name], CHANGES[area.name].c
    is_changed = sa.and_(changes.run_id == new.run_id, versions.c.version_id == changes.version_id)
    because = sa.case((changes.op == Op.UPDATE, "changed"), else_="gone")
    return (
        sa.update(versions)
        # Never close a version twice, because history must keep its first closing.
        .where(is_changed, versions.c.closed_no.is_(None))
        .values(
            closed_no=new.number, closed_because=because, closed_by_reads=changes.closed_by_reads
        )
    )


def close_departed_versions(new: NewPublication, area: ResourceArea) -> sa.Update:
    """Close the versions of departing persons."""
    versions = VERSIONS[area.name]
    departing = sa.select(person.c.person_id).where(person.c.departed_no == new.number)
    return (
        sa.update(versions)
        .where(versions.c.closed_no.is_(None), versions.c.person_id.in_(departing))
        .values(closed_no=new.number, closed_because="departed")
    )


def add_persons(new: NewPublication) -> sa.Insert:
    """Insert the new persons of this publication."""
    names = ["person_id", "person_key", "local_ref", "cohort"]
    added = sa.select(*(draft.c[name] for name in names), new.number_column).where(
        draft.c.run_id == new.run_id, draft.c.is_new
    )
    return sa.insert(person).from_select([*names, "first_no"], added.order_by(draft.c.person_id))


def add_versions(new: NewPublication, area: ResourceArea) -> sa.Insert:
    """Insert new and changed versions. Runs before ``confirm_areas``, which confirms the area.

    A changed version is left-censored if the version it replaces is. A new version is left-censored
    if the person's area has no confirmed read yet.
    """
    versions, changes = VERSIONS[area.name], CHANGES[area.name]
    replaced = versions.alias("replaced")
    shared = {column.name for column in changes.c} - {"version_id", "closed_by_reads"}
    copied = [column.name for column in versions.c if column.name in shared]
    is_first_read = person_area.c.confirmed_no.is_(None)
    # NULL without a replaced version, so an update inherits the mark and an insert computes it.
    is_left_censored = sa.func.coalesce(replaced.c.is_left_censored, is_first_read)
    opened = (
        sa.select(*(changes.c[name] for name in copied), new.number_column, is_left_censored)
        .outerjoin_from(changes, replaced, replaced.c.version_id == changes.c.version_id)
        .outerjoin(
            person_area,
            sa.and_(
                person_area.c.person_id == changes.c.person_id, person_area.c.area == area.name
            ),
        )
        .where(changes.c.run_id == new.run_id, changes.c.op != Op.CLOSE)
        .order_by(changes.c.person_id, changes.c.restriction_id)
    )
    return sa.insert(versions).from_select([*copied, "opened_no", "is_left_censored"], opened)


def write_feed(new: NewPublication) -> sa.Insert:
    """Append the changes to the feed, in the order in which a copy must apply them."""
    parts = [
        # Closings first, because a copy may also allow only one open version of a restriction.
        *(_closed_rows(new, area) for area in AREAS),
        *(_opened_rows(new, area) for area in AREAS),
        _departed_rows(new),
        _relabelled_rows(new),
    ]
    rows = sa.union_all(
        *(part.add_columns(sa.literal(n).label("part")) for n, part in enumerate(parts))
    ).subquery("feed")
    names = ["op", "area", "version_id", "person_id"]
    ordered = sa.select(
        new.number_column, sa.literal(new.at, UtcTime), *(rows.c[name] for name in names)
    ).order_by(rows.c.part, rows.c.version_id, rows.c.person_id)
    return sa.insert(change_feed).from_select(["publication_no", "happened_at", *names], ordered)


def _feed_rows(op: Any, area: Any, version_id: Any, person_id: Any) -> Query:
    # In a UNION, PostgreSQL takes an uncast NULL for text, which does not match a number.
    return sa.select(
        sa.cast(op, sa.Text).label("op"),
        sa.cast(area, sa.Text).label("area"),
        sa.cast(version_id, sa.BigInteger).label("version_id"),
        person_id.label("person_id"),
    )


def _closed_rows(new: NewPublication, area: ResourceArea) -> Query:
    versions = VERSIONS[area.name].c
    # An update also closes a version, but the feed has one row for it: that of the new version.
    is_ended = sa.and_(versions.closed_no == new.number, versions.closed_because != "changed")
    rows = _feed_rows(Op.CLOSE.value, area.name, versions.version_id, versions.person_id)
    return rows.where(is_ended)


def _opened_rows(new: NewPublication, area: ResourceArea) -> Query:
    versions, changes = VERSIONS[area.name], CHANGES[area.name]
    is_source = sa.and_(
        changes.c.run_id == new.run_id,
        changes.c.person_id == versions.c.person_id,
        changes.c.restriction_id == versions.c.restriction_id,
    )
    rows = _feed_rows(changes.c.op, area.name, versions.c.version_id, versions.c.person_id)
    opened = rows.join_from(versions, changes, is_source)
    return opened.where(versions.c.opened_no == new.number)


def _departed_rows(new: NewPublication) -> Query:
    rows = _feed_rows("depart", sa.null(), sa.null(), person.c.person_id)
    return rows.where(person.c.departed_no == new.number)


def _relabelled_rows(new: NewPublication) -> Query:
    rows = _feed_rows("relabel", sa.null(), sa.null(), person.c.person_id)
    return rows.join_from(person, draft, has_draft(new)).where(_is_relabelled())


def _is_relabelled() -> sa.ColumnElement[bool]:
    """Whether a person was read and has other labels than in the last publication."""
    has_other_labels = sa.or_(
        person.c.departed_no.is_not(None),
        person.c.local_ref.is_distinct_from(draft.c.local_ref),
        person.c.cohort.is_distinct_from(draft.c.cohort),
    )
    # With AND, PostgreSQL joins the reads of all persons first. With CASE, it looks up reads only
    # for the few persons with other labels.
    return sa.case((has_other_labels, _was_read()), else_=sa.false())


def mark_returned_persons(new: NewPublication) -> sa.Update:
    """Mark the drafts of returned persons as new. ``label_persons`` then clears the departure."""
    departed = sa.select(person.c.person_id).where(person.c.departed_no.is_not(None))
    # A departed person on the roster stays departed if the identifier is not sent to PTS.
    is_back = sa.and_(draft.c.run_id == new.run_id, draft.c.person_id.in_(departed), _was_read())
    return sa.update(draft).where(is_back).values(is_new=True)


def confirm_areas(new: NewPublication, dialect: str) -> Any:
    """Store the proof of each complete read, and clear the area's failure."""
    read = draft_area.c
    proof_columns = {name: read[name] for name in PROOF} | {
        "confirmed_at": read.read_at,
        "confirmed_no": new.number_column,
    }
    reads = sa.select(read.person_id, read.area, *proof_columns.values()).where(
        read.run_id == new.run_id, read.state == COMPLETE
    )
    added = upsert(dialect, person_area).from_select(["person_id", "area", *proof_columns], reads)
    proof = {name: added.excluded[name] for name in proof_columns}
    no_failure = dict.fromkeys((*FAILURE, *_FAILING), sa.null())
    return added.on_conflict_do_update(
        index_elements=[person_area.c.person_id, person_area.c.area], set_=proof | no_failure
    )


def store_failures(new: NewPublication, dialect: str) -> Any:
    """Store each failed read: its reason, its start, and the number of failed runs in a row."""
    read = draft_area.c
    # The values of a first failure. The update below adds them to an earlier failure.
    failure_columns = {name: read[name] for name in FAILURE} | {
        "failed_at": read.read_at,
        "failing_since": read.read_at,
        "failed_runs": sa.literal(1),
    }
    reads = sa.select(read.person_id, read.area, *failure_columns.values()).where(
        read.run_id == new.run_id, read.state == FAILED
    )
    added = upsert(dialect, person_area).from_select(["person_id", "area", *failure_columns], reads)
    # The last proof stays, because readers still see the state it confirmed.
    failure = {name: added.excluded[name] for name in (*FAILURE, "failed_at")}
    before = person_area.c
    return added.on_conflict_do_update(
        index_elements=[before.person_id, before.area],
        set_=failure
        | {
            "failing_since": sa.func.coalesce(before.failing_since, added.excluded.failing_since),
            "failed_runs": sa.func.coalesce(before.failed_runs, 0) + 1,
        },
    )


def add_unread_areas(new: NewPublication, area: ResourceArea, dialect: str) -> Any:
    """Insert an unread row for each new person in an area that this run did not read.

    Readers then see the area as not confirmed. An area that no full run has ever read gets no row.
    """
    # The areas of this run have a row for each person already.
    was_read_before = last_full_publication_no(area).between(1, new.number - 1)
    joined = sa.select(draft.c.person_id, sa.literal(area.name, sa.Text)).where(
        draft.c.run_id == new.run_id, draft.c.is_new, was_read_before
    )
    added = upsert(dialect, person_area).from_select(["person_id", "area"], joined)
    return added.on_conflict_do_nothing()


def label_persons(new: NewPublication) -> sa.Update:
    """Write the roster's labels for persons with other labels. Runs after ``write_feed``.

    The feed lists these persons as ``relabel``. The others are not updated, because SQLite rewrites
    the index entries of a row even if no value changes.
    """
    labels = {"local_ref": draft.c.local_ref, "cohort": draft.c.cohort, "departed_no": sa.null()}
    relabelled = sa.select(change_feed.c.person_id).where(
        is_in_feed_since(new.number), change_feed.c.op == "relabel"
    )
    is_relabelled = person.c.person_id.in_(relabelled)
    return sa.update(person).where(has_draft(new), is_relabelled).values(labels)


def unmark_missed_persons(new: NewPublication) -> sa.Update:
    """Clear the missing mark of persons on the roster."""
    is_back = sa.and_(person.c.missed_no.is_not(None), sa.exists().where(has_draft(new)))
    return sa.update(person).where(is_back).values(missed_no=None)


def clear_departed_areas(new: NewPublication) -> sa.Update:
    """Clear confirmation and failure of departed persons.

    If they return, their areas count as unread until they are read again.
    """
    departed = sa.select(person.c.person_id).where(person.c.departed_no == new.number)
    # Also the digest: after a return, an equal digest must not hide that all versions are closed.
    unread = dict.fromkeys(("confirmed_no", "digest", *FAILURE, *_FAILING), None)
    return sa.update(person_area).where(person_area.c.person_id.in_(departed)).values(unread)


def applied_statements(new: NewPublication, dialect: str) -> Iterator[sa.Insert | sa.Update]:
    """The statements that a publication executes after the guard has passed it."""
    # Close first: only one version of a restriction may be open at a time.
    for area in AREAS:
        yield close_versions(new, area)
        yield close_departed_versions(new, area)
    yield add_persons(new)
    for area in AREAS:
        yield add_versions(new, area)
    # Before ``label_persons``, because the feed compares the new labels with the old ones.
    yield write_feed(new)
    yield mark_returned_persons(new)
    yield confirm_areas(new, dialect)
    yield store_failures(new, dialect)
    for area in AREAS:
        yield add_unread_areas(new, area, dialect)
    yield label_persons(new)
    yield unmark_missed_persons(new)
    yield clear_departed_areas(new)


# 3. Other open runs


def delete_outdated_drafts(new: NewPublication, others: Sequence[int]) -> Iterator[sa.Delete]:
    """Delete drafts of other open runs that were compared with an outdated published state.

    These are the drafts of persons in this publication. If this publication opens a restriction id,
    they are also the drafts that open the id for another person. The other runs read these persons
    again.
    """
    other = draft.alias("other")
    of_same_person = sa.select(other.c.run_id, other.c.person_id).join(
        draft, sa.and_(draft.c.run_id == new.run_id, draft.c.person_key == other.c.person_key)
    )
    outdated = [of_same_person.where(other.c.run_id.in_(others))]
    for changes in CHANGES.values():
        # When the other run drafted it, the id had no other holder, so one read was enough.
        published, drafted = changes.alias("published"), changes.alias("drafted")
        opens_same_id = sa.and_(
            published.c.run_id == new.run_id,
            published.c.op == Op.INSERT,
            published.c.restriction_id == drafted.c.restriction_id,
        )
        outdated.append(
            sa.select(drafted.c.run_id, drafted.c.person_id)
            .join(published, opens_same_id)
            .where(drafted.c.run_id.in_(others), drafted.c.op == Op.INSERT)
        )
    rows = sa.union_all(*outdated).subquery("outdated")
    key = sa.tuple_(draft.c.run_id, draft.c.person_id)
    yield sa.delete(draft).where(key.in_(sa.select(rows.c.run_id, rows.c.person_id)))
    yield from delete_orphans(others)
