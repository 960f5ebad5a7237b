"""What the reporting views must hold: a plain dict world, without a line of the worker.

The model looks at the database through SQL alone. Whenever it finds a new publication it works out
what that may show from the publication before, from what PTS told the processes of that run and
from the roster; between publications nothing may change.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import closing
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.pseudonyms import label_of, pseudonym_of
from tests.simulation.served import Answer, Rows, Served
from tests.simulation.upstream import AREAS

REVISION = {"patient-safety": "confidentiality_code", "patient-privacy": "privacy_level"}
LAST_RUN = (
    "SELECT * FROM report_run WHERE publication_no IS NOT NULL ORDER BY publication_no DESC LIMIT 1"
)
FRESHNESS = "SELECT person_key, area, is_stale FROM report_person_freshness"
CURRENT = {
    area: f"SELECT restriction_id, person_key, local_ref, is_stale, first_seen_at, "
    f"{REVISION[area]} AS revision FROM report_{area.replace('-', '_')}_current"
    for area in AREAS
}
HISTORY = {
    area: f"SELECT restriction_id, person_key, valid_from, valid_to, opened_run, closed_run, "
    f"{REVISION[area]} AS revision FROM report_{area.replace('-', '_')}_history"
    for area in AREAS
}
_ROWS = (
    "rows_read", "rows_opened", "rows_changed", "rows_closed", "rows_moved", "rows_unchanged",
)  # fmt: skip
STATEMENTS = (LAST_RUN, FRESHNESS, *CURRENT.values(), *HISTORY.values())
"""Everything that the model ever reads; one transaction must have read it all."""

Key = tuple[str, str]
"""A person's key and an area."""

CONFIRM_AFTER_S = 2.0
"""What two reads that confirm each other have between them, at least."""


class BrokenPromiseError(AssertionError):
    """The database shows what it must not, or does not show what it must."""


def expect(condition: object, text: str) -> None:
    """Raise if a promise is broken."""
    if not condition:
        raise BrokenPromiseError(text)


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One process's turn, as the model needs to know it.

    Attributes:
        number: the process.
        run_id: the run that it worked on.
        roster: identifiers on its roster with their local references.
        is_whole: its roster had no bad line.
        not_sent: those of the roster, line by line, whom PTS must not be asked about.
        picks: a backfill that may leave persons of its roster out.
        confirms_changes: every difference needs a second read, and not removals alone.
    """

    number: int
    run_id: int
    roster: Mapping[str, frozenset[str | None]]
    not_sent: Sequence[str] = ()
    is_whole: bool = True
    picks: bool = False
    accepts: bool = False
    confirms_changes: bool = False


@dataclass(kw_only=True)
class Snapshot:
    """What readers see of one publication."""

    number: int = 0
    run_id: int = 0
    published_at: Any = None
    rows: dict[Key, Rows] = field(default_factory=dict)
    stale: dict[Key, bool] = field(default_factory=dict)
    refs: dict[str, str | None] = field(default_factory=dict)
    first_seen: dict[tuple[str, str, str], str] = field(default_factory=dict)

    def held(self) -> dict[tuple[str, str, str], int]:
        """Every row as (area, person, restriction) and its revision."""
        return {
            (area, person, key): revision
            for (person, area), rows in self.rows.items()
            for key, revision in rows.items()
        }


class Model:
    """The dict world's opinion of the database."""

    def __init__(self, path: Path, pseudonym_key: bytes, served: Mapping[int, Served]) -> None:
        self.path = path
        self.key = pseudonym_key
        self.served = served
        self.turns: dict[int, list[Turn]] = defaultdict(list)
        self.snapshots: list[Snapshot] = [Snapshot()]
        self.looks = 0
        self._reader: Any | None = None
        self._label: str | None = None

    @property
    def last(self) -> Snapshot:
        """The latest publication that was seen."""
        return self.snapshots[-1]

    def person_key(self, off_id: str) -> str:
        """The pseudonym, as docs/privacy.md defines it, under the label that the store keeps."""
        if self._label is None:
            with closing(sqlite3.connect(self.path)) as connection:
                (check,) = connection.execute("SELECT key_check FROM store_identity").fetchone()
            self._label = label_of(self.key, check) if check else None
        return pseudonym_of(self.key, off_id, self._label or "other")

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def look(self) -> bool:
        """See that the database keeps its promises now; whether there was a new publication."""
        if self._reader is None:
            self._reader = sqlite3.connect(self.path, isolation_level=None, timeout=0)
            self._reader.row_factory = sqlite3.Row
        self._reader.execute("BEGIN")
        try:
            return self.judge(self._reader)
        finally:
            self._reader.execute("COMMIT")

    def judge(self, reader: Any) -> bool:
        """See that what ``reader`` finds keeps the promises; see ``look``.

        Args:
            reader: its ``execute`` gives the rows of a statement, by column name.
        """
        self.looks += 1
        found: Any = next(iter(reader.execute(LAST_RUN)), None)
        number = 0 if found is None else found["publication_no"]
        last = self.last
        shown = self._shown(reader, number)
        if number == last.number:
            expect(shown.rows == last.rows, "the current views changed without a publication")
            expect(shown.stale == last.stale, "freshness changed without a publication")
            expect(shown.refs == last.refs, "local references changed without a publication")
            return False
        expect(number == last.number + 1, f"publication {last.number} was followed by {number}")
        came_at = found["published_at"]
        expect(last.number == 0 or came_at > last.published_at, "publication times go back")
        shown.run_id, shown.published_at = found["run_id"], found["published_at"]
        self._check(shown, found)
        self.snapshots.append(shown)
        self._check_history(reader)
        return True

    def _shown(self, reader: Any, number: int) -> Snapshot:
        shown = Snapshot(number=number)
        for row in reader.execute(FRESHNESS):
            key = (row["person_key"], row["area"])
            shown.stale[key] = bool(row["is_stale"])
            shown.rows.setdefault(key, {})
        for area in AREAS:
            for row in reader.execute(CURRENT[area]):
                key = (row["person_key"], area)
                rows = shown.rows.setdefault(key, {})
                expect(row["restriction_id"] not in rows, "a restriction is shown twice")
                rows[row["restriction_id"]] = int(row["revision"][1:])
                expect(key in shown.stale, "a restriction of a person who is not known, or left")
                expect(
                    bool(row["is_stale"]) == shown.stale[key],
                    "current and freshness do not agree on is_stale",
                )
                shown.refs[row["person_key"]] = row["local_ref"]
                shown.first_seen[area, row["person_key"], row["restriction_id"]] = row[
                    "first_seen_at"
                ]
        return shown

    def _check(self, shown: Snapshot, run: Any) -> None:
        turns = self.turns[run["run_id"]]
        expect(turns, "a run was published that nobody worked on")
        before = self.last
        is_sync = run["kind"] == "sync"
        last_turn = turns[-1]
        roster = {self.person_key(one): refs for one, refs in last_turn.roster.items()}
        told = self._told(turns)
        told_last = self._told([last_turn])
        doubtful = {
            (self.person_key(off_id), area)
            for off_id, area in self.served[last_turn.number].doubtful
        }
        new_here = _opened(before, shown)
        for key in sorted(before.stale.keys() | shown.stale.keys()):
            person, area = key
            if key not in shown.stale:
                expect(is_sync and last_turn.is_whole, f"{area}: departed without a whole roster")
                expect(person not in roster, f"{area}: departed though on the roster")
                continue
            expect(
                person in roster or not (is_sync and last_turn.is_whole),
                f"{area}: a person who left the roster is still shown",
            )
            rows, old = shown.rows[key], before.rows.get(key, {})
            carried = {
                one: revision
                for one, revision in old.items()
                if not new_here[area].get(one, set()) - {person}
            }
            if shown.stale[key]:
                expect(rows == carried, f"{area}: the state of an unread area changed")
                expect(
                    key not in told_last or key in doubtful or None in told_last[key],
                    f"{area}: read to its last page, and shown as stale",
                )
            elif key in told:
                # Whoever need not be read any more may be asked again all the same, as evidence.
                carries_on = not is_sync and not before.stale.get(key, True) and rows == carried
                expect(rows in told[key] or carries_on, f"{area}: shown is not what PTS told")
            else:
                expect(not is_sync, f"{area}: fresh without a whole read")
                expect(not before.stale.get(key, True), f"{area}: fresh without a whole read")
                expect(rows == carried, f"{area}: changed without a read")
        self._check_roster(shown, run, last_turn, roster)
        self._check_refs(shown, turns, roster if is_sync else {})
        self._check_first_seen(shown)
        self._check_ledger(shown, run)
        self._check_guard(shown, run, turns)

    def _told(self, turns: Iterable[Turn]) -> dict[Key, list[Rows | None]]:
        """What each turn could take for the state of a person-area; None: nothing."""
        told: dict[Key, list[Rows | None]] = defaultdict(list)
        for turn in turns:
            served = self.served[turn.number]
            for asked, answers in served.whole.items():
                key = (self.person_key(asked[0]), asked[1])
                old, was_refused = self.last.rows.get(key, {}), served.refusals[asked] > 1
                told[key] += _readings(old, answers, turn, was_refused=was_refused)
        return told

    def _check_roster(
        self, shown: Snapshot, run: Any, turn: Turn, roster: Mapping[str, Any]
    ) -> None:
        stale_there = False
        passed_over = {self.person_key(off_id) for off_id in turn.not_sent}
        told = run["persons_not_sent"]
        expect(told == len(turn.not_sent), f"{told} not sent, not {len(turn.not_sent)}")
        for person in roster.keys() - passed_over:
            for area in AREAS:
                known = (person, area) in shown.stale
                expect(known or turn.picks, f"{area}: a person of the roster is missing")
                stale_there |= shown.stale.get((person, area), False)
        if run["exit_code"] == 0 and not turn.picks:
            expect(not stale_there, "exit 0 with a person unread")
        if run["exit_code"] == 0:
            expect(turn.is_whole, "exit 0 with bad lines on the roster")

    def _check_refs(self, shown: Snapshot, turns: Iterable[Turn], read: Mapping[str, Any]) -> None:
        """Who was asked for goes by a reference of this run's rosters, everyone else as before."""
        allowed: dict[str, set[str | None]] = defaultdict(set)
        not_sent: set[str] = set()
        for turn in turns:
            not_sent.update(map(self.person_key, turn.not_sent))
            for off_id, refs in turn.roster.items():
                allowed[self.person_key(off_id)] |= refs
        for person, ref in shown.refs.items():
            is_kept = (person not in read or person in not_sent) and ref == self.last.refs.get(
                person, ref
            )
            expect(is_kept or ref in allowed[person], "a local reference from nowhere")

    def _check_first_seen(self, shown: Snapshot) -> None:
        for key, at in self.last.first_seen.items():
            now = shown.first_seen.get(key, at)
            expect(now <= at, f"{key[0]}: first_seen_at moved forward while it stayed open")

    def _check_ledger(self, shown: Snapshot, run: Any) -> None:
        persons = run["persons_complete"] + run["persons_stale"] + run["persons_departed"]
        expect(run["persons_total"] == persons, "persons do not add up")
        written = run["rows_opened"] + run["rows_changed"] + run["rows_moved"]
        expect(run["rows_read"] == written + run["rows_unchanged"], "rows do not add up")
        negative = [name for name in _ROWS if run[name] < 0]
        expect(not negative, f"negative totals: {negative}")
        old, new = self.last.held(), shown.held()
        changed = sum(old[key] != new[key] for key in old.keys() & new.keys())
        came, went = len(new.keys() - old.keys()), len(old.keys() - new.keys())
        expect(run["rows_changed"] == changed, f"{run['rows_changed']} changed, not {changed}")
        opened = run["rows_opened"] + run["rows_moved"]
        expect(opened == came, f"{opened} rows came by the ledger, {came} by the views")
        closed = run["rows_closed"] + run["rows_moved"]
        expect(closed >= went, f"{closed} rows went by the ledger, {went} by the views")

    def _check_guard(self, shown: Snapshot, run: Any, turns: list[Turn]) -> None:
        """docs/guarantees.md, the guard: what must never be published without a person's word."""
        if any(turn.accepts for turn in turns) or run["kind"] != "sync" or len(turns) > 1:
            return
        old, new = self.last.held(), shown.held()
        living = {(area, key) for area, _, key in new}
        gone = [(area, person) for area, person, key in old if (area, key) not in living]
        persons = {person for _, person in gone}
        holders = {person for _, person, _ in old}
        is_much = len(gone) > max(0.1 * len(old), min(5, len(old) / 2))
        is_wide = len(persons) > min(3, len(holders) / 2) or len(gone) > len(old) / 2
        expect(not (is_much and is_wide), f"{len(gone)} of {len(old)} closed, and published")
        for area in AREAS:
            lost = [person for where, person in gone if where == area]
            there = sum(where == area for where, _, _ in old)
            is_all = len(lost) == there and len(set(lost)) > 1
            expect(not is_all, f"{area}: {len(lost)} of {there} closed, and published")

    def _check_history(self, reader: Any) -> None:
        """As-of of every publication so far, by number and by time; intervals as they must be."""
        numbers = {one.run_id: one.number for one in self.snapshots}
        asof: dict[int, dict[Key, Rows]] = {one.number: {} for one in self.snapshots}
        at_time: dict[int, dict[Key, Rows]] = {one.number: {} for one in self.snapshots}
        spans: dict[tuple[str, str, str], list[tuple[int, int]]] = defaultdict(list)
        for area in AREAS:
            for row in reader.execute(HISTORY[area]):
                begin = numbers[row["opened_run"]]
                end = numbers[row["closed_run"]] if row["closed_run"] is not None else 1 << 30
                expect(begin < end, f"{area}: a version ends before it begins")
                until = row["valid_to"]
                expect(until is None or row["valid_from"] <= until, f"{area}: time runs backward")
                spans[area, row["person_key"], row["restriction_id"]].append((begin, end))
                key, value = (row["person_key"], area), int(row["revision"][1:])
                for one in self.snapshots[1:]:
                    if begin <= one.number < end:
                        asof[one.number].setdefault(key, {})[row["restriction_id"]] = value
                    if row["valid_from"] <= one.published_at and (
                        until is None or one.published_at < until
                    ):
                        at_time[one.number].setdefault(key, {})[row["restriction_id"]] = value
        for versions in spans.values():
            versions.sort()
            for earlier, later in pairwise(versions):
                expect(earlier[1] <= later[0], "two versions of a restriction overlap")
        for one in self.snapshots[1:]:
            rows = {key: rows for key, rows in one.rows.items() if rows}
            expect(asof[one.number] == rows, f"as-of publication {one.number} has changed")
            expect(at_time[one.number] == rows, f"as-of its time, {one.number} has changed")

    def check_world(
        self,
        truth: Mapping[str, Mapping[str, Rows]],
        roster: Iterable[str],
        failing: AbstractSet[Key] = frozenset(),
        not_sent: Iterable[str] = (),
    ) -> None:
        """The store is the world, fresh but for those who fail, and nothing else.

        Those who were not sent are stale, or not known.
        """
        passed_over = {(self.person_key(off_id), area) for off_id in not_sent for area in AREAS}
        wanted = {
            (self.person_key(off_id), area): truth.get(off_id, {}).get(area, {})
            for off_id in roster
            for area in AREAS
        }
        last = self.last
        for key in passed_over:
            del wanted[key]
        expect(
            last.rows.keys() - passed_over == wanted.keys(),
            "the store does not show the roster's persons",
        )
        for key in wanted.keys() - failing:
            expect(last.rows[key] == wanted[key], "the store is not the world")
        stale = {key for key, is_stale in last.stale.items() if is_stale}
        failing |= last.stale.keys() & passed_over
        expect(stale == failing, f"{len(stale)} person-areas are stale, not {len(failing)}")


def _readings(
    published: Rows, answers: list[Answer], turn: Turn, *, was_refused: bool
) -> list[Rows | None]:
    """What may be written: the first answer, or a second one that agrees on what is gone.

    The second came on connections of its own, two seconds after the first. Further answers are
    those of somebody who was asked again as evidence about PTS; they come on any connection.

    Args:
        published: what is shown so far.
        answers: all that the process was told, in order.
        turn: the process's.
        was_refused: requests for it were refused, and so may have changed to a connection of their
            own: then PTS cannot tell one read from another by its connections.
    """

    def gone(answer: Answer) -> set[str]:
        return published.keys() - answer.rows.keys()

    def confirms(answer: Answer) -> bool:
        agrees = gone(first) == gone(answer)
        if turn.confirms_changes:
            agrees &= first.rows == answer.rows
        return agrees and answer.is_alone and answer.at_s - first.at_s >= CONFIRM_AFTER_S

    first, *later = answers
    if not gone(first) and not (turn.confirms_changes and first.rows != published):
        return [first.rows, None] if first.is_alone else [first.rows]
    if first.is_alone and not was_refused:
        return [None]  # a second read, whose first was not understood
    found: list[Rows | None] = [one.rows for one in later if confirms(one)]
    return found if found and len(later) == 1 and not was_refused else [*found, None]


def _opened(before: Snapshot, shown: Snapshot) -> dict[str, dict[str, set[str]]]:
    """By area and restriction: the persons under whom this publication opened a version."""
    opened: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for (person, area), rows in shown.rows.items():
        old = before.rows.get((person, area), {})
        for key, revision in rows.items():
            if old.get(key) != revision:
                opened[area][key].add(person)
    return opened
