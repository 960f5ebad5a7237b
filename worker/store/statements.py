# ruff: noqa: S608 - the names in these statements are declared, and the numbers are the store's own
"""What a batch and a publication execute, as text for both databases, in the order of execution.

As SQLAlchemy Core they would be built and compiled anew by each process. ``store.filling`` fills in
the braces: ``{run}``, ``{pass_no}``, ``{no}`` (the publication) and ``{at}`` (its time) are numbers
and a time of the store's own; ``{input_rows}`` is a table of the batch's rows (``runs.bulk``). A
statement of an area is made for each area, with its name, tables and columns. In a statement of all
areas, what stands between ``[[`` and ``]]`` is repeated for each.
"""

import re
from collections.abc import Mapping
from functools import reduce
from string import digits
from typing import Final

from worker.errors import FailureKind
from worker.store.filling import OTHER
from worker.store.schema.tables import FAILURE, PERSON_COUNTS, PROOF

# A batch: who they are, what is published of them, and the drafts

FIND_PERSONS: Final = """
WITH asked AS (SELECT person_key FROM {input_rows})
SELECT p.person_key, p.person_id, false AS is_new, p.local_ref, p.cohort, d.attempt[[,
    p.{a}_digest AS {a}_published,
    d.{a}_state, d.{a}_read_at, d.{a}_record_count, d.{a}_digest, d.{a}_first_digest,
    d.{a}_failure_kind]]
FROM asked CROSS JOIN person p
{join} JOIN draft d ON d.run_id = {run} AND d.person_id = p.person_id
WHERE p.person_key = asked.person_key
UNION ALL
SELECT d.person_key, d.person_id, true, NULL, NULL, d.attempt[[,
    NULL, d.{a}_state, d.{a}_read_at, d.{a}_record_count, d.{a}_digest, d.{a}_first_digest,
    d.{a}_failure_kind]]
FROM asked CROSS JOIN draft d
WHERE d.run_id = {run} AND d.is_new AND d.person_key = asked.person_key
"""
"""Persons of a batch or of the roster: those whom a publication knows, with the digest of what is
open of each area, and those whom only this run knows; and what it has read of them. An inner join
leaves out those whom it has not read. CROSS JOIN makes SQLite look up persons for those asked, and
not the other way round."""

TAKE_IDS: Final = """
UPDATE store_identity SET last_person_id = last_person_id + {count} RETURNING last_person_id
"""
"""Ids for persons whom nobody knows."""

_STAYS: Final = (
    "draft.{a}_state = 'unconfirmed' AND excluded.{a}_state = 'failed' "
    "AND excluded.{a}_failure_kind <> 'unstable'"
)
"""The second read of an area failed: the first one stays, and may be confirmed in a later pass."""
WRITE_DRAFTS: Final = (
    """
INSERT INTO draft ({names}, run_id, attempt, compared_no)
SELECT {names}, {run}, {pass_no}, (SELECT COALESCE(MAX(publication_no), 0) FROM run)
FROM {input_rows} WHERE true
ON CONFLICT (run_id, person_id) DO UPDATE SET
    attempt = excluded.attempt[["""
    + "".join(
        f""",
    {{a}}_{name} = CASE WHEN excluded.{{a}}_state IS NULL OR {_STAYS}
        THEN draft.{{a}}_{name} ELSE excluded.{{a}}_{name} END"""
        for name in ("state", "read_at", *PROOF)
    )
    + "".join(
        f""",
    {{a}}_{name} = CASE WHEN excluded.{{a}}_state IS NULL
        THEN draft.{{a}}_{name} ELSE excluded.{{a}}_{name} END"""
        for name in FAILURE
    )
    + "]]\n"
)
"""What was read. An area that was not read this time keeps what was read of it before, and the
person what the roster called them first: it may name somebody twice."""

OPEN_VERSIONS: Final = """
SELECT v.person_id, v.version_id, v.restriction_id, v.content_hash, v.first_seen_at, {content}
FROM {input_rows} CROSS JOIN {versions} v
WHERE v.person_id = input_rows.person_id AND v.closed_no IS NULL
"""
"""Of an area: what readers see as open of these persons."""

FIND_TAKEN: Final = """
SELECT DISTINCT input_rows.person_id, input_rows.restriction_id
FROM {input_rows} CROSS JOIN {versions} v
WHERE v.restriction_id = input_rows.restriction_id AND v.closed_no IS NULL
    AND v.person_id <> input_rows.person_id
"""
"""Of an area: which of these restrictions another person has, as published."""

FORGET_CHANGES: Final = """
DELETE FROM {changes}
WHERE run_id = {run} AND person_id IN (SELECT person_id FROM {input_rows})
"""
"""Of an area: what an earlier read of these persons would have changed."""

WRITE_CHANGES: Final = """
INSERT INTO {changes} ({names}, run_id) SELECT {names}, {run} FROM {input_rows}
"""
"""Of an area: what would come, change and go."""

ADD_DRIFT: Final = """
INSERT INTO drift (area, field, records, run_id, first_run, first_seen_at)
SELECT area, field, records, {run}, {run}, {at} FROM {input_rows}
WHERE (SELECT COUNT(*) FROM drift d WHERE d.area = input_rows.area) < {most}
    OR (input_rows.area, input_rows.field) IN (SELECT d.area, d.field FROM drift d)
ON CONFLICT (area, field) DO UPDATE SET run_id = excluded.run_id,
    records = excluded.records + CASE WHEN drift.run_id = {run} THEN drift.records ELSE 0 END
"""
"""How many records hold each undeclared field, counted again by each run. Once an area has ``most``
fields, no further one is noted."""

# The roster, chunk by chunk: who was seen, and whom a backfill reads

MARK_SEEN: Final = """
UPDATE draft SET attempt = {pass_no}, local_ref = input_rows.local_ref, cohort = input_rows.cohort
FROM {input_rows} WHERE draft.run_id = {run} AND draft.person_id = input_rows.person_id
"""
"""This attempt has seen them on the roster, which may call them something else by now."""

ADD_NOT_SENT: Final = """
INSERT INTO draft
    (run_id, person_id, person_key, is_new, attempt, compared_no, local_ref, cohort)
SELECT {run}, p.person_id, p.person_key, false, {pass_no}, 0, p.local_ref, p.cohort
FROM {input_rows} CROSS JOIN person p WHERE p.person_id = input_rows.person_id
ON CONFLICT (run_id, person_id) DO NOTHING
"""
"""It has seen them under an identifier that is not sent to PTS: a draft without any read."""

COUNT_DUE: Final = """
SELECT COUNT(*) FROM draft d WHERE d.run_id = {run} AND d.attempt < {pass_no} AND (false[[
    OR '{area}' IN ({areas}) AND (d.{a}_state = 'unconfirmed' AND d.{a}_failure_kind IS NULL
        OR {with_failures} AND d.{a}_failure_kind <> 'unstable')]])
"""
"""Persons whom the second or third pass reads again, in some areas: see ``AreaDraft.is_due``."""

COUNT_FAILED: Final = """
SELECT area, kind, reason, COUNT(*) AS persons FROM (
    SELECT NULL AS area, NULL AS kind, NULL AS reason WHERE false[[
    UNION ALL SELECT '{area}', d.{a}_failure_kind, d.{a}_failure_reason FROM draft d
        WHERE d.run_id = {run} AND d.{a}_failure_kind IS NOT NULL]]) AS failed
GROUP BY area, kind, reason ORDER BY persons DESC, area, reason
"""
"""The failures of a run by area, kind and reason, most frequent first."""

FIND_ANSWERED: Final = """
SELECT '' AS area, false AS is_answered, false AS with_record[[
UNION ALL SELECT '{area}',
    EXISTS (SELECT 1 FROM person p WHERE p.{a}_confirmed_no IS NOT NULL)
    OR EXISTS (SELECT 1 FROM draft d WHERE d.run_id = {run} AND d.{a}_pages IS NOT NULL),
    EXISTS (SELECT 1 FROM {versions} v)
    OR EXISTS (SELECT 1 FROM draft d WHERE d.run_id = {run} AND d.{a}_record_count > 0)]]
"""
"""Whether an area was ever read, in a publication or by this run; and with a record."""

FIND_CHOICE: Final = """
SELECT input_rows.person_key[[,
    p.{a}_confirmed_at IS NULL AND {stale} OR p.{a}_confirmed_at < {before}
    OR {failed} AND (p.{a}_failure_kind IS NOT NULL OR COALESCE(d.{a}_state, '') = 'failed')]]
FROM {input_rows} LEFT JOIN person p ON p.person_key = input_rows.person_key
LEFT JOIN draft d ON d.run_id = {run} AND d.person_id = p.person_id
"""
"""Whether an area of these persons is stale, or failed, also in the run before; as far as it is
asked for. A person not known yet is stale."""

# Publication. First what the last attempt has not seen, and what was read only once

FORGET_UNSEEN: Final = """
DELETE FROM draft WHERE run_id = {run} AND attempt < {pass_no}
"""
"""What earlier attempts have read of persons whom this full roster does not name."""

FORGET_LONE_CHANGES: Final = """
DELETE FROM {changes} WHERE run_id IN ({runs}) AND NOT EXISTS (SELECT 1 FROM draft d
    WHERE d.run_id = {changes}.run_id AND d.person_id = {changes}.person_id)
"""
"""Of an area: changes of persons whose drafts are gone."""

FAIL_UNCONFIRMED: Final = """
UPDATE draft SET {a}_state = 'failed', {a}_failure_kind = COALESCE({a}_failure_kind, 'unstable'),
    {a}_failure_reason = COALESCE({a}_failure_reason,
        'the second read was not made: PTS is not asked about the person any more'),
    {a}_failure_attempts = COALESCE({a}_failure_attempts, {a}_pages), {a}_first_digest = NULL
WHERE run_id = {run} AND {a}_state = 'unconfirmed'
"""
"""Of an area: a first read alone changes nothing."""

# Departures: persons whom two full rosters in a row do not name

_NOT_NAMED: Final = """
person.departed_no IS NULL AND NOT EXISTS
    (SELECT 1 FROM draft d WHERE d.run_id = {run} AND d.person_id = person.person_id)
"""
DEPART: Final = f"""
UPDATE person SET departed_no = {{no}} WHERE missed_no IS NOT NULL AND {_NOT_NAMED}
"""
"""The second full roster in a row that does not name them."""
MARK_MISSED: Final = f"""
UPDATE person SET missed_no = {{no}} WHERE missed_no IS NULL AND {_NOT_NAMED}
"""
"""The first full roster that does not name them; after ``DEPART``."""

# What the guard judges, and the totals

COUNT_READS: Final = """
SELECT '' AS area,
    COUNT(*) AS persons,
    SUM(CASE WHEN true[[ AND COALESCE(d.{a}_state, 'complete') = 'complete']]
        THEN 1 ELSE 0 END) AS complete[[,
    COUNT(d.{a}_state) AS {a}_attempted,
    SUM(CASE WHEN d.{a}_state = 'complete' THEN 1 ELSE 0 END) AS {a}_complete,
    SUM(CASE WHEN d.{a}_state = 'complete' THEN d.{a}_record_count ELSE 0 END) AS {a}_records,
    SUM(CASE WHEN d.{a}_state = 'unconfirmed' THEN 1 ELSE 0 END) AS {a}_unconfirmed,
    SUM(CASE WHEN d.{a}_state = 'unconfirmed' AND d.{a}_failure_kind IS NULL
        THEN 1 ELSE 0 END) AS {a}_lone]]
FROM draft d WHERE d.run_id = {run} AND (false[[ OR d.{a}_state IS NOT NULL]])
"""
"""Persons and person-areas that were read, and what they showed."""

_COUNTS: Final = """
    COUNT(CASE WHEN g.op = 'insert' THEN 1 END) AS rows_opened,
    COUNT(CASE WHEN g.op = 'update' THEN 1 END) AS rows_changed,
    COUNT(CASE WHEN g.op = 'close' THEN 1 END) AS rows_closed,
    COALESCE(SUM(CASE WHEN g.closes THEN 1 ELSE 0 END), 0) AS removed,
    COUNT(DISTINCT CASE WHEN g.closes THEN g.person_id END) AS persons_affected,
    COALESCE(SUM(CASE WHEN g.loses THEN 1 ELSE 0 END), 0) AS lost,
    COUNT(DISTINCT CASE WHEN g.loses THEN g.person_id END) AS persons_losing
FROM going g"""
COUNT_GOING: Final = f"""
WITH going AS (
    SELECT NULL AS area, NULL AS op, NULL AS person_id, false AS closes, false AS loses
    WHERE false[[
    UNION ALL SELECT '{{area}}', c.op, c.person_id, c.closes, c.loses FROM {{changes}} c
        WHERE c.run_id = {{run}}
    UNION ALL SELECT '{{area}}', 'close', v.person_id, true, false FROM {{versions}} v
        JOIN person p ON p.person_id = v.person_id
        WHERE v.closed_no IS NULL AND p.departed_no = {{no}}]])
SELECT area, {_COUNTS} GROUP BY area UNION ALL SELECT '', {_COUNTS}
"""
"""What comes, changes and goes; what is closed or loses a value, and of how many persons: of each
area, and of all together."""

COUNT_OPEN: Final = """
WITH opened AS (SELECT NULL AS area, NULL AS person_id WHERE false[[
    UNION ALL SELECT '{area}', v.person_id FROM {versions} v WHERE v.closed_no IS NULL]])
SELECT '' AS area, COUNT(*) AS open_before, COUNT(DISTINCT person_id) AS holders_before FROM opened
UNION ALL SELECT area, COUNT(*), 0 FROM opened GROUP BY area
"""
"""Likewise open restrictions before this publication; and of all areas together the persons who
have one."""
COUNT_SUBSET_OPEN: Final = """
SELECT '' AS area, COUNT(*) AS open_before, COUNT(DISTINCT o.person_id) AS holders_before
FROM (SELECT NULL AS person_id WHERE false[[
    UNION ALL SELECT v.person_id FROM draft d JOIN {versions} v ON v.person_id = d.person_id
    WHERE d.run_id = {run} AND d.{a}_state IS NOT NULL AND v.closed_no IS NULL]]) AS o
"""
"""Of all areas together: those of what a backfill has read."""

COUNT_HOLDERS: Final = """
SELECT NULL AS area, 0 AS holders, 0 AS holders_complete WHERE false[[
UNION ALL SELECT '{area}', COUNT(*), SUM(CASE WHEN d.{a}_state = 'complete' THEN 1 ELSE 0 END)
FROM (SELECT DISTINCT v.person_id FROM {versions} v WHERE v.closed_no IS NULL) AS h
JOIN draft d ON d.run_id = {run} AND d.person_id = h.person_id AND d.{a}_state IS NOT NULL]]
"""
"""Persons asked in each area who hold an open restriction in it, as published; and how many of them
were read completely."""

COUNT_BEFORE: Final = """
SELECT '' AS area, COUNT(*) AS persons[[,
    (SELECT COUNT(*) FROM run WHERE kind = 'sync' AND status = 'published'
        AND areas LIKE '%"{area}"%') AS {a}_syncs]]
FROM person WHERE departed_no IS NULL OR departed_no = {no}
"""
"""Persons who had not departed before this publication, and full runs of each area before it."""

# What readers see from now on

CLOSE_VERSIONS: Final = """
UPDATE {versions} SET closed_no = {no} FROM {changes} c
WHERE c.run_id = {run} AND {versions}.version_id = c.version_id AND {versions}.closed_no IS NULL
"""
"""Of an area: what goes, and what changes."""

CLOSE_DEPARTED: Final = """
UPDATE {versions} SET closed_no = {no} WHERE closed_no IS NULL AND person_id IN
    (SELECT p.person_id FROM person p WHERE p.departed_no = {no})
"""
"""Of an area: the restrictions of departing persons."""

ADD_PERSONS: Final = """
INSERT INTO person (person_id, person_key, local_ref, cohort, first_no)
SELECT d.person_id, d.person_key, d.local_ref, d.cohort, {no} FROM draft d
WHERE d.run_id = {run} AND d.is_new ORDER BY d.person_id
"""
"""Persons whom readers see for the first time."""

ADD_VERSIONS: Final = """
INSERT INTO {versions} (person_id, restriction_id, opened_no, first_seen_at, observed_at,
    is_left_censored, content_hash, {content})
SELECT c.person_id, c.restriction_id, {no}, c.first_seen_at, c.observed_at,
    COALESCE(w.is_left_censored, p.{a}_confirmed_no IS NULL), c.content_hash, {content}
FROM {changes} c JOIN person p ON p.person_id = c.person_id
LEFT JOIN (SELECT version_id, is_left_censored FROM {versions}) w ON w.version_id = c.version_id
WHERE c.run_id = {run} AND c.op <> 'close' ORDER BY c.person_id, c.restriction_id
"""
"""Of an area: what comes, and what changed ones say now; before ``CONFIRM_PERSONS``."""

WRITE_FEED: Final = """
INSERT INTO change_feed (publication_no, happened_at, op, area, version_id, person_id)
SELECT {no}, {at}, op, area, version_id, person_id FROM (
    SELECT 4 AS step, 'relabel' AS op, CAST(NULL AS TEXT) AS area,
        CAST(NULL AS BIGINT) AS version_id, d.person_id
    FROM draft d JOIN person p ON p.person_id = d.person_id
    WHERE d.run_id = {run} AND p.first_no <> {no} AND (p.departed_no IS NOT NULL
        OR COALESCE(d.local_ref, '') <> COALESCE(p.local_ref, '')
        OR COALESCE(d.cohort, '') <> COALESCE(p.cohort, ''))
        AND (false[[ OR d.{a}_state IS NOT NULL]])
    UNION ALL SELECT 3, 'depart', NULL, NULL, p.person_id FROM person p WHERE p.departed_no = {no}[[
    UNION ALL SELECT 1, 'close', '{area}', v.version_id, v.person_id FROM {versions} v
        WHERE v.closed_no = {no} AND NOT EXISTS (SELECT 1 FROM {changes} c
            WHERE c.run_id = {run} AND c.person_id = v.person_id
            AND c.restriction_id = v.restriction_id AND c.op = 'update')
    UNION ALL SELECT 2, c.op, '{area}', v.version_id, v.person_id FROM {versions} v
        JOIN {changes} c ON c.run_id = {run} AND c.person_id = v.person_id
            AND c.restriction_id = v.restriction_id
        WHERE v.opened_no = {no}]]
) AS changed ORDER BY step, area DESC, version_id, person_id
"""
"""What changed, in the order in which a copy applies it."""

MARK_BACK: Final = """
UPDATE draft SET is_new = true WHERE run_id = {run} AND (false[[ OR {a}_state IS NOT NULL]])
    AND person_id IN (SELECT person_id FROM person WHERE departed_no IS NOT NULL)
"""
"""A person who is back counts as new on the roster. ``LABEL_PERSONS`` then ends their absence."""

_OF_READ: Final = """
FROM draft d WHERE d.run_id = {run} AND person.person_id = d.person_id
    AND (false[[ OR d.{a}_state IS NOT NULL]])"""
_WHEN_COMPLETE: Final = """
    {{a}}_{0} = CASE d.{{a}}_state WHEN 'complete' THEN {1} ELSE person.{{a}}_{0} END"""
_WHEN_FAILED: Final = """
    {{a}}_{0} = CASE d.{{a}}_state WHEN 'complete' THEN NULL WHEN 'failed' THEN {1}
        ELSE person.{{a}}_{0} END"""
CONFIRM_PERSONS: Final = (
    """
UPDATE person SET missed_no = NULL[[,"""
    + ",".join(
        [
            _WHEN_COMPLETE.format("confirmed_at", "d.{a}_read_at"),
            _WHEN_COMPLETE.format("confirmed_no", "{no}"),
            *(_WHEN_COMPLETE.format(name, f"d.{{a}}_{name}") for name in PROOF),
            *(_WHEN_FAILED.format(name, f"d.{{a}}_{name}") for name in FAILURE),
            _WHEN_FAILED.format("failed_at", "d.{a}_read_at"),
            _WHEN_FAILED.format(
                "failing_since", "COALESCE(person.{a}_failing_since, d.{a}_read_at)"
            ),
            _WHEN_FAILED.format("failed_runs", "COALESCE(person.{a}_failed_runs, 0) + 1"),
        ]
    )
    + f"]]\n{_OF_READ}"
)
"""The row of each person: what was confirmed now, or why not."""
LABEL_PERSONS: Final = f"""
UPDATE person SET local_ref = d.local_ref, cohort = d.cohort, departed_no = NULL
{_OF_READ} AND (person.local_ref IS DISTINCT FROM d.local_ref
    OR person.cohort IS DISTINCT FROM d.cohort OR person.departed_no IS NOT NULL)
"""
"""What the roster calls them, where it differs: SQLite writes the entries of an index again for
each row whose column is set, even to the same value."""

NAME_NOT_SENT: Final = """
UPDATE person SET missed_no = NULL WHERE missed_no IS NOT NULL AND EXISTS
    (SELECT 1 FROM draft d WHERE d.run_id = {run} AND d.person_id = person.person_id)
"""
"""The roster names them, though they are not sent to PTS."""

FORGET_DEPARTED: Final = """
UPDATE person SET missed_no = NULL[[, {a}_confirmed_no = NULL, {a}_digest = NULL,
    {a}_failure_kind = NULL, {a}_failure_status = NULL, {a}_failure_reason = NULL,
    {a}_failure_attempts = NULL, {a}_failed_at = NULL, {a}_failing_since = NULL,
    {a}_failed_runs = NULL]]
WHERE departed_no = {no}
"""
"""If they come back, an area that is not read then is not known to be empty; and nobody reads what
failed again."""

# The facts: counted anew by each publication

IS_STALE: Final = """
(p.{a}_failure_kind IS NOT NULL OR p.{a}_confirmed_no IS NULL OR p.{a}_confirmed_no <
    (SELECT COALESCE(MAX(s.publication_no), 0) FROM run s
    WHERE s.kind = 'sync' AND s.areas LIKE '%"{area}"%'))
"""
"""Of an area that was ever read of the person ``p``, or could not be: they were not read by its
last publication or its last full one. The one definition, for the facts and the views."""

COHORTS_MAX: Final = 300
"""How many cohorts facts name, the first in order; persons of the others are in ``OTHER``."""
_DIGITS_MAX: Final = 9
"""An organisation number has nine digits, an identifier eleven, and a pseudonym some forty."""
_UNNUMBERED: Final = reduce(lambda text, digit: f"replace({text}, '{digit}', '')", digits, "cohort")
_ONE_IF: Final = "SUM(CASE WHEN {0} THEN 1 ELSE 0 END) AS {1}"
_IS_HERE: Final = "p.departed_no IS NULL"
_COUNTED: Final[Mapping[str, str]] = {
    "roster": _IS_HERE,
    "stale": f"""{_IS_HERE} AND (false[[ OR {IS_STALE}
        AND (p.{{a}}_confirmed_at IS NOT NULL OR p.{{a}}_failure_kind IS NOT NULL)]])""",
    **{
        f"failed_{kind}": f"{_IS_HERE} AND (false[[ OR p.{{a}}_failure_kind = '{kind}']])"
        for kind in FailureKind
    },
    "joined": "d.person_id IS NOT NULL",
    "departed": "p.departed_no = {no}",
    "persons_in_effect": "h.person_id IS NOT NULL",
}
"""The persons that the facts count. All others on the roster are confirmed."""
WRITE_COHORTS: Final = f"""
INSERT INTO publication_cohort (publication_no, cohort, {", ".join(_COUNTED)}, confirmed)
WITH holder AS (SELECT NULL AS person_id WHERE false[[
    UNION SELECT v.person_id FROM {{versions}} v WHERE v.closed_no IS NULL AND {{in_effect}}]]),
counted AS (SELECT COALESCE(p.cohort, '') AS cohort,
    {", ".join(_ONE_IF.format(sql, name) for name, sql in _COUNTED.items())}
    FROM person p LEFT JOIN holder h ON h.person_id = p.person_id
    LEFT JOIN draft d ON d.run_id = {{run}} AND d.person_id = p.person_id AND d.is_new
    WHERE {_IS_HERE} OR p.departed_no = {{no}} GROUP BY 1),
named AS (SELECT counted.*, CASE WHEN length(cohort) - length({_UNNUMBERED}) <= {_DIGITS_MAX}
    AND ROW_NUMBER() OVER (ORDER BY cohort) <= {COHORTS_MAX}
    THEN cohort ELSE '{OTHER}' END AS name FROM counted)
SELECT {{no}}, name, {", ".join(f"SUM({name})" for name in _COUNTED)}, SUM(roster) - SUM(stale)
FROM named GROUP BY name
"""
"""The roster by cohort: who is new or back, stale, fails and how, departs, or has a restriction in
effect, whatever its area."""

WRITE_TOTALS: Final = f"""
UPDATE run SET ({", ".join(PERSON_COUNTS)}) = (SELECT
    {", ".join(f"COALESCE(SUM(c.{name}), 0)" for name in PERSON_COUNTS)}
    FROM publication_cohort c WHERE c.publication_no = {{no}}) WHERE run_id = {{run}}
"""
"""The ledger's counts of persons are the sums over all cohorts."""

_CODES: Final = "{code} AS code, {level} AS level, {cause} AS cause, {group} AS restriction_group"
_COHORT: Final = f"""CASE WHEN COALESCE(p.cohort, '') IN (SELECT n.cohort FROM publication_cohort n
    WHERE n.publication_no = {{no}}) THEN COALESCE(p.cohort, '') ELSE '{OTHER}' END"""
_SINCE: Final = "f.seq > (SELECT COALESCE(MAX(seq), 0) FROM change_feed WHERE publication_no < {0})"
WRITE_CODES: Final = f"""
INSERT INTO publication_code (publication_no, area, code, level, cause, restriction_group, cohort,
    open, in_effect, persons, persons_in_effect, added, changed, removed)
SELECT {{no}}, '{{area}}', code, level, cause, restriction_group, {_COHORT}, SUM(open),
    SUM(in_effect), {_ONE_IF.format("open > 0", "persons")},
    {_ONE_IF.format("in_effect > 0", "persons_in_effect")}, SUM(added), SUM(changed), SUM(removed)
FROM (
    SELECT person_id, code, level, cause, restriction_group, {_ONE_IF.format("op = ''", "open")},
        {_ONE_IF.format("does", "in_effect")}, {_ONE_IF.format("op = 'insert'", "added")},
        {_ONE_IF.format("op = 'update'", "changed")}, {_ONE_IF.format("op = 'close'", "removed")}
    FROM (SELECT {_CODES}, v.person_id, '' AS op, {{in_effect}} AS does
        FROM {{versions}} v WHERE v.closed_no IS NULL
        UNION ALL SELECT {_CODES}, v.person_id, f.op, false
        FROM change_feed f JOIN {{versions}} v ON v.version_id = f.version_id
        WHERE {_SINCE.format("{no}")} AND f.area = '{{area}}') AS counted
    GROUP BY 1, 2, 3, 4, 5) AS one
JOIN person p ON p.person_id = one.person_id GROUP BY 3, 4, 5, 6, 7
"""
"""Of an area: restrictions that are open and in effect, the persons who have them, and what came,
changed and went, of the feed's last rows."""

_WRITE_FIGURES: Final = """
INSERT INTO publication_figure
    (publication_no, figure, restriction_group, code, level, cohort, restrictions, persons)
"""
_NO_COLUMN: Final = re.compile(r"'', |, ''")
_COUNT_EACH: Final[Mapping[str, str]] = {
    "sqlite": """
SELECT {{no}}, '{figure}', {columns}, cohort, COUNT(*), COUNT(DISTINCT person_id)
FROM listed WHERE {condition} GROUP BY {by}""",
    "postgresql": """
SELECT {{no}}, '{figure}', {columns}, cohort, SUM(n), COUNT(*) FROM (
    SELECT {by}, COUNT(*) AS n FROM listed WHERE {condition} GROUP BY {by}, person_id) AS one
GROUP BY {by}""",
}
"""Restrictions and persons. PostgreSQL sorts what is DISTINCT, but can group without sorting."""


def _each_counted(**figures: tuple[str, str]) -> Mapping[str, str]:
    """On each database what is listed, counted for each figure by its own columns."""
    return {
        dialect: "\nUNION ALL".join(
            counted.format(
                figure=figure,
                columns=columns,
                by=f"{_NO_COLUMN.sub('', columns)}, cohort",
                condition=condition,
            )
            for figure, (columns, condition) in figures.items()
        )
        for dialect, counted in _COUNT_EACH.items()
    }


FIGURES: Final = _each_counted(
    group=("restriction_group, '', ''", "does OR restriction_group = 'pending'"),
    code=("restriction_group, code, level", "does"),
    cause=("'', cause, ''", "does AND cause IS NOT NULL"),
    age=("'', age, ''", "does"),
    ends=("'', ends, ''", "does AND restriction_group = 'delayed'"),
    expired=("'', expired, ''", "expired IS NOT NULL"),
)
WRITE_FIGURES: Final = f"""
{_WRITE_FIGURES}
WITH listed AS (SELECT NULL AS person_id, NULL AS cohort, NULL AS restriction_group, NULL AS code,
    NULL AS level, NULL AS cause, NULL AS age, NULL AS ends, NULL AS expired, NULL AS does
    WHERE false[[
    UNION ALL SELECT v.person_id, {_COHORT}, {{group}}, {{code}}, {{level}},
        CASE WHEN {{has_cause}} THEN {{cause}} END, {{age}}, {{ends}}, {{expired}}, {{in_effect}}
    FROM {{versions}} v JOIN person p ON p.person_id = v.person_id WHERE v.closed_no IS NULL]])
{{figures}}
"""
"""What stands, divided in each way (``core.effect.Figure``): restrictions, and their persons."""

WEEK_FIGURES: Final = _each_counted(
    week_group=("restriction_group, op, ''", "true"), week=("'', op, ''", "true")
)
WRITE_WEEK: Final = f"""
{_WRITE_FIGURES}
WITH listed AS (SELECT NULL AS op, NULL AS restriction_group, NULL AS cohort, NULL AS person_id
    WHERE false[[
    UNION ALL SELECT f.op, {{group}}, {_COHORT}, v.person_id
    FROM change_feed f JOIN {{versions}} v ON v.version_id = f.version_id
    JOIN person p ON p.person_id = v.person_id
    WHERE f.area = '{{area}}' AND {{group}} <> 'none' AND (f.op = 'update'
        OR f.op = 'insert' AND NOT v.is_left_censored OR f.op = 'close' AND NOT EXISTS (
            SELECT 1 FROM change_feed o WHERE o.op = 'depart' AND o.person_id = f.person_id
            AND o.publication_no = f.publication_no)) AND
        {_SINCE.format("(SELECT MIN(publication_no) FROM run WHERE day > '{week_ago}')")}]])
{{week_figures}}
"""
"""What came, changed and went at PTS in seven days, of the feed's last rows, and whose it was. What
stood when it was first read, or went because its person left the roster, is no news of PTS's."""

APPLIED: Final = (
    CLOSE_VERSIONS,
    CLOSE_DEPARTED,
    ADD_PERSONS,
    ADD_VERSIONS,
    WRITE_FEED,
    MARK_BACK,
    CONFIRM_PERSONS,
    LABEL_PERSONS,
    NAME_NOT_SENT,
    FORGET_DEPARTED,
    WRITE_COHORTS,
    WRITE_TOTALS,
    WRITE_CODES,
    WRITE_FIGURES,
    WRITE_WEEK,
)
"""What a publication executes when the guard has let it pass."""

# Other runs that are open: what they have read of these persons is read anew

_OUTDATED: Final = """
SELECT o.run_id, o.person_id FROM draft d JOIN draft o ON o.person_key = d.person_key
WHERE d.run_id = {run} AND o.run_id IN ({runs})[[
UNION SELECT o.run_id, o.person_id FROM {changes} c
    JOIN {changes} o ON o.restriction_id = c.restriction_id
    WHERE c.run_id = {run} AND c.op = 'insert' AND o.run_id IN ({runs}) AND o.op = 'insert']]
"""
FORGET_OUTDATED: Final = f"DELETE FROM draft WHERE (run_id, person_id) IN ({_OUTDATED})"
"""Those who were published now, and those who would open what is now another person's."""

# Garbage: drafts of runs that are not open, some persons at a time

FORGET_SOME: Final = """
DELETE FROM draft WHERE run_id = {run} AND person_id IN (SELECT d.person_id FROM draft d
    WHERE d.run_id = {run} AND NOT (false[[ OR {counts} AND COALESCE(d.{a}_state, '') = 'failed']])
    ORDER BY d.person_id LIMIT {limit})
"""
"""The failures of the latest run stay while they count."""
FORGET_SOME_CHANGES: Final = """
DELETE FROM {changes} WHERE run_id = {run} AND person_id IN (SELECT c.person_id FROM {changes} c
    WHERE c.run_id = {run} ORDER BY c.person_id LIMIT {limit})
"""
"""Of an area: the changes of that run."""

# Retention, some rows at a time

_PURGED: Final = """
SELECT v.version_id FROM {versions} v
WHERE v.closed_no <= (SELECT MAX(publication_no) FROM run WHERE published_at < {before})
ORDER BY v.version_id LIMIT {limit}
"""
FEED_PURGE: Final = f"""
INSERT INTO change_feed (publication_no, happened_at, op, area, version_id, person_id)
SELECT (SELECT MAX(publication_no) FROM run), {{at}}, 'purge', '{{area}}', version_id, person_id
FROM {{versions}} WHERE version_id IN ({_PURGED})
"""
"""Of an area: a copy learns which versions are about to go; before ``PURGE_VERSIONS``."""
PURGE_VERSIONS: Final = f"DELETE FROM {{versions}} WHERE version_id IN ({_PURGED})"
"""Of an area: versions that were closed before."""
PURGE_ACCESSES: Final = """
DELETE FROM access_log WHERE access_id IN (SELECT access_id FROM access_log
    WHERE accessed_at < {before} ORDER BY access_id LIMIT {limit})
"""
"""Lines of the access log that are older than it is kept."""
