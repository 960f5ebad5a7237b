"""Lets the model judge a database through SQL alone.

Whatever a new publication shows as read must be what PTS answered to the processes of that run.
From there on the model says what must be shown, to the last row; between publications nothing
may change.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from tests.support.model.checks import Checks
from tests.support.model.guard import Guard
from tests.support.model.reads import Confirmation, confirmation
from tests.support.model.state import Model
from tests.support.model.values import AREAS, SAFETY, Ending, PersonArea, Row, Run, expect
from tests.support.model.views import STATEMENTS, Views, views_of
from tests.support.pseudonyms import pseudonym_of
from tests.support.simulation.served import Answer, Rows, Served

CONFIRM_AFTER_S = 10.0
"""What two reads that confirm each other have between them, at least."""
_LAST = "SELECT MAX(publication_no) AS number FROM report_run"


def reader_of(place: Path | str) -> Any:
    """A connection to a SQLite file, or to the PostgreSQL at a URL; columns have their names."""
    if isinstance(place, str):
        # In a zone east of it the year 9999 is one too many for Python.
        utc = "-c timezone=UTC"
        return psycopg.connect(place, autocommit=True, row_factory=dict_row, options=utc)
    reader = sqlite3.connect(place, isolation_level=None, timeout=0)
    reader.row_factory = sqlite3.Row
    return reader


@dataclass(frozen=True, kw_only=True)
class WatchedAttempt:
    """One process's work at a run, as the model needs to know it.

    Attributes:
        number: the process.
        roster: identifiers on its roster with their local references.
        roster_errors: bad lines of it.
        not_sent: those of the roster, line by line, whom PTS must not be asked about.
        picks: a backfill that may leave persons of its roster out.
        confirms_changes: every difference needs a second read, and not removals alone.
    """

    number: int
    run_id: int
    kind: str
    areas: tuple[str, ...]
    guard: Guard
    roster: Mapping[str, frozenset[str | None]]
    roster_errors: int = 0
    not_sent: Sequence[str] = ()
    picks: bool = False
    confirms_changes: bool = False


class Observer:
    """The model's eye on one database.

    Attributes:
        ledger: what ``report_run`` shows, as last looked at.
    """

    def __init__(
        self, place: Path | str, pseudonym_key: bytes, served: Mapping[int, Served]
    ) -> None:
        self.place = place
        self.key = pseudonym_key
        self.served = served
        self.model = Model()
        self.ledger: Sequence[Mapping[str, Any]] = ()
        self._attempts: dict[int, list[tuple[WatchedAttempt, Confirmation]]] = defaultdict(list)
        self._keys: dict[str, str] = {}
        self._reader: Any | None = None

    def person_key(self, off_id: str) -> str:
        """The pseudonym, as docs/data-protection.md defines it."""
        if off_id not in self._keys:
            self._keys[off_id] = pseudonym_of(self.key, off_id)
        return self._keys[off_id]

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def began(self, attempt: WatchedAttempt) -> None:
        """A process begins or continues a run; what it reads is compared with what is published."""
        if attempt.run_id not in self.model.runs:
            self.model.begin(attempt.run_id, attempt.kind, attempt.areas)
        second_read = confirmation(self.model.rows(), of_changes=attempt.confirms_changes)
        self._attempts[attempt.run_id].append((attempt, second_read))

    # Looking

    def is_behind(self) -> bool:
        """Whether there is a publication that the model has not judged."""
        number = self._open().execute(_LAST).fetchone()["number"]
        return (number or 0) != len(self.model.published)

    def look(self) -> bool:
        """See that the database keeps its promises now; whether there was a new publication."""
        reader = self._open()
        reader.execute("BEGIN")
        try:
            found = {name: reader.execute(sql).fetchall() for name, sql in STATEMENTS.items()}
        finally:
            reader.execute("COMMIT")
        return self.judge(found)

    def _open(self) -> Any:
        if self._reader is None:
            self._reader = reader_of(self.place)
        return self._reader

    def judge(self, found: Mapping[str, Iterable[Mapping[str, Any]]]) -> bool:
        """See that what each of ``STATEMENTS`` found keeps the promises; see ``look``."""
        views = views_of(found)
        self.ledger = views.tables["runs"]
        published = views.published()
        seen = len(self.model.published)
        is_new = len(published) > seen
        if is_new:
            expect(len(published) == seen + 1, f"{len(published) - seen} publications at once")
            self._publish(views, published[-1])
        Checks(model=self.model, row_of=_row_of).check(views)
        return is_new

    # A publication

    def _publish(self, views: Views, row: Mapping[str, Any]) -> None:
        attempts = self._attempts[row["run_id"]]
        expect(attempts, "a run was published that nobody worked on")
        run, last = self.model.runs[row["run_id"]], attempts[-1][0]
        run.requests, run.retries = row["requests"], row["retries"]
        self._take_reads(views, run)
        roster = {self.person_key(off_id) for off_id in last.roster}
        sent = roster - {self.person_key(off_id) for off_id in last.not_sent}
        unread = {(person, area) for person in sent for area in run.areas} - run.readings.keys()
        expect(last.picks or not unread, f"{len(unread)} person-areas of the roster were not read")
        ending = Ending(
            roster=roster,
            is_full_roster=run.kind == "sync" and not last.roster_errors,
            roster_errors=last.roster_errors,
            not_sent=len({*last.not_sent}),
        )
        outcome = self.model.outcome(run, ending)
        is_accepted = last.guard.accept_removals and self._was_withheld(run)
        is_withheld = (last.guard.is_thin if is_accepted else last.guard.withholds)(outcome.facts)
        expect(not is_withheld, f"published in spite of {outcome.facts}")
        self.model.publish(run, outcome, row["published_at"])
        self._outdate(run, {key for key, read in outcome.readings.items() if read.is_complete})

    def _outdate(self, published: Run, read: AbstractSet[PersonArea]) -> None:
        """What other runs were answered of these before is of another state: they ask anew."""
        for run_id, attempts in self._attempts.items():
            for attempt, _ in attempts if run_id != published.run_id else ():
                answers = self.served[attempt.number].answers
                for asked in [*answers]:
                    if (self.person_key(asked[0]), asked[1]) in read:
                        del answers[asked]

    def _was_withheld(self, run: Run) -> bool:
        """Whether the run of this kind before it was: a person may accept what it showed."""
        ended = [
            one["status"]
            for one in self.ledger
            if one["run_id"] < run.run_id
            and one["kind"] == run.kind
            and one["status"] in {"published", "withheld"}
        ]
        return ended[-1:] == ["withheld"]

    def _take_reads(self, views: Views, run: Run) -> None:
        """What the views show as read by this run, if PTS answered so.

        A complete read has a time of its own, and a failure names the run.
        """
        run.readings.clear()
        attempts = self._attempts[run.run_id]
        answered, answered_last = self._answered(attempts), self._answered(attempts[-1:])
        served = self.served[attempts[-1][0].number]
        doubtful = {
            (self.person_key(off_id), area) for off_id, area in served.doubtful | served.unfinished
        }
        failed = {
            key
            for one in views.tables["freshness"]
            for key in [(one["person_key"], one["area"])]
            if one["failure_kind"] is not None and self._is_news(key, one["last_failed_at"])
        }
        refs = self._refs(run)
        records: dict[PersonArea, Rows] = defaultdict(dict)
        for (area, person, name), revision in map(_row_of, views.of("current")):
            records[person, area][name] = revision
        for one in views.tables["freshness"]:
            key, at = (one["person_key"], one["area"]), one["last_confirmed_at"]
            before = self.model.proofs.get(key)
            if one["is_stale"]:
                expect(
                    key not in answered_last or key in doubtful or None in answered_last[key],
                    f"{key[1]}: read to its last page, and shown as stale",
                )
                if key in failed:
                    self.model.could_not_read(run, key, one["failure_kind"], one["last_failed_at"])
            elif before is None or at != before.confirmed_at:
                expect(records[key] in answered[key], f"{key[1]}: shown is not what PTS answered")
                self.model.read_complete(run, key, records[key], at=at, pages=one["pages"])
            if key in run.readings:
                expect(one["local_ref"] in refs[key[0]], "a local reference from nowhere")
                run.refs[key[0]] = one["local_ref"]

    def _is_news(self, key: PersonArea, failed_at: datetime) -> bool:
        """Whether a failure is not the one that the last publication has left."""
        known = self.model.failures.get(key)
        return known is None or known.at != failed_at

    def _refs(self, run: Run) -> dict[str, set[str | None]]:
        """By what each person may go: the references of this run's rosters.

        A backfill's list without a reference leaves the one that is known.
        """
        refs: dict[str, set[str | None]] = defaultdict(set)
        for attempt, _ in self._attempts[run.run_id]:
            for off_id, listed in attempt.roster.items():
                person = self.person_key(off_id)
                refs[person] |= listed
                if run.kind == "backfill" and None in listed:
                    refs[person] = refs[person] - {None} | {self.model.refs.get(person)}
        return refs

    def _answered(
        self, attempts: Iterable[tuple[WatchedAttempt, Confirmation]]
    ) -> dict[PersonArea, list[Rows | None]]:
        """What each attempt could take for the state of a person-area; None: nothing."""
        answered: dict[PersonArea, list[Rows | None]] = defaultdict(list)
        earlier: dict[PersonArea, list[Answer]] = defaultdict(list)
        for attempt, second_read in attempts:
            served = self.served[attempt.number]
            for asked, answers in served.answers.items():
                # Refusals, of whomever, and failures of a person bring probes, which come on
                # connections of their own.
                pages = sum(len(answer.connections) for answer in answers)
                has_failed = served.searches[asked] > pages
                was_refused = served.refusals.total() > 0 or has_failed
                key = (self.person_key(asked[0]), asked[1])
                # An answer that the worker may refuse is asked for again.
                for first in range(len(answers) if asked in served.doubtful else 1):
                    left = answers[first:]
                    answered[key] += _readings(second_read, key, left, was_refused=was_refused)
                # The first of the two may have been an earlier attempt's.
                answered[key] += _confirming(second_read, earlier[key], answers)
                earlier[key] += answers
        return answered

    # The world

    def check_world(
        self,
        truth: Mapping[str, Mapping[str, Rows]],
        roster: Iterable[str],
        failing: AbstractSet[PersonArea] = frozenset(),
        not_sent: Iterable[str] = (),
    ) -> None:
        """The store is the world, fresh but for those who fail, and nothing else.

        Those who were not sent are stale, or not known. Whom this roster is the first not to name
        are stale, too.
        """
        passed_over = {(self.person_key(off_id), area) for off_id in not_sent for area in AREAS}
        wanted = {
            (self.person_key(off_id), area): truth.get(off_id, {}).get(area, {})
            for off_id in roster
            for area in AREAS
        }
        missed = {key for key in self.model.shown() if key[0] in self.model.missed}
        shown = {key: one for key, one in self.model.shown().items() if key not in missed}
        expect(
            all(self.model.proofs[key].is_stale for key in missed), "fresh, and not on the roster"
        )
        expect(
            shown.keys() - passed_over == wanted.keys() - passed_over,
            "the store does not show the roster's persons",
        )
        for key in wanted.keys() - passed_over - failing:
            expect(self.model.rows_of(*key) == wanted[key], "the store is not the world")
        stale = {key for key, proof in shown.items() if proof.is_stale}
        failing |= shown.keys() & passed_over
        expect(stale == failing, f"{len(stale)} person-areas are stale, not {len(failing)}")


def _row_of(shown: Mapping[str, Any]) -> tuple[Row, int]:
    """A restriction's revision is in one of its columns."""
    column = "confidentiality_code" if shown["area"] == SAFETY else "privacy_level"
    row = (shown["area"], shown["person_key"], shown["restriction_id"])
    return row, int(shown[column][1:])


def _readings(
    second_read: Confirmation, of: PersonArea, answers: list[Answer], *, was_refused: bool
) -> list[Rows | None]:
    """What may be written: the first answer, or a second one that agrees with it.

    The second came on connections of its own, ten seconds after the first. Further answers are
    those of somebody who was asked again as evidence about PTS; they come on any connection.

    Args:
        answers: all complete answers to the process, in order.
        was_refused: requests were refused, so the answer may be that of a probe, on a connection of
            its own. Then connections do not show PTS which read is which.
    """
    first, *later = answers
    if not second_read.is_needed(of, first.rows):
        return [first.rows, None] if first.is_alone else [first.rows]
    found = _confirming(second_read, [first], later)
    # A first answer on a connection of its own was a probe, or a second read.
    is_first_read = not (was_refused or first.is_alone)
    return found if found and len(later) == 1 and is_first_read else [*found, None]


def _confirming(
    second_read: Confirmation, first: Sequence[Answer], later: Sequence[Answer]
) -> list[Rows | None]:
    """Those of the later answers that confirm one of the first."""
    return [
        one.rows
        for one in later
        if one.is_alone
        and any(
            second_read.agree(before.rows, one.rows) and one.at_s - before.at_s >= CONFIRM_AFTER_S
            for before in first
        )
    ]
