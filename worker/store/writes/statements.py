# ruff: noqa: S608 - the names in these statements are declared
"""The statements that write a batch, as text for ``InputRows``, which fills in the braces.

They run for every batch. Core would prepare the parameters of each row by itself, where SQLite's
driver gets all rows as one flat tuple and PostgreSQL's as one array per column: the reason why
``InputRows`` is there (docs/performance.md).
"""

from typing import Final

from sqlalchemy import Table

from worker.store.schema.tables import FIRST_READ, PROOF_COLUMNS

# A person is outdated if a label has changed, or was never published: see ``_write_labels``.
FIND_PERSONS: Final = (
    "SELECT person.person_key, person.person_id, "
    "EXISTS (SELECT 1 FROM failure WHERE failure.person_id = person.person_id) AS has_failed, "
    "NOT coalesce(person.local_ref = input_rows.local_ref, "
    "person.local_ref IS NULL AND input_rows.local_ref IS NULL) "
    "OR NOT coalesce(person.cohort = input_rows.cohort, "
    "person.cohort IS NULL AND input_rows.cohort IS NULL) "
    "OR (label_run.publication_no IS NULL AND label_run.run_id <> {run_id}) "
    "OR (first_run.publication_no IS NULL AND first_run.run_id <> {run_id}) AS is_outdated "
    # CROSS JOIN makes SQLite look up persons for the input rows, and not the other way round.
    "FROM {input_rows} CROSS JOIN person "
    "JOIN run AS first_run ON first_run.run_id = person.first_run "
    "JOIN run AS label_run ON label_run.run_id = person.local_ref_run "
    "WHERE person.person_key = input_rows.person_key"
)
ADD_PERSONS: Final = (
    "INSERT INTO person (person_key, first_run, local_ref, cohort, local_ref_run, "
    "prev_local_ref, prev_cohort) "
    "SELECT person_key, {run_id}, local_ref, cohort, "
    "{run_id}, local_ref, cohort FROM {input_rows} RETURNING person_key, person_id"
)
WRITE_FIRST_READS: Final = (
    f"UPDATE person_area SET {', '.join(f'{name} = input_rows.{name}' for name in FIRST_READ)} "
    "FROM {input_rows} WHERE person_area.person_id = input_rows.person_id "
    "AND person_area.area = input_rows.area"
)
_FIGURES: Final = ("confirmed_at", "pages", "record_count", "digest")


def insert_versions(table: Table) -> str:
    """Add versions that this run opens."""
    return (
        f"INSERT INTO {table.name} ({{names}}, opened_run) "
        "SELECT {names}, {run_id} FROM {input_rows}"
    )


def _write_proofs() -> str:
    published = ", ".join(f"prev_{name} = {_published(name)}" for name in PROOF_COLUMNS)
    figures = ", ".join(
        f"{name} = CASE WHEN excluded.is_complete THEN excluded.{name} ELSE {_published(name)} END"
        for name in _FIGURES
    )
    first = ", ".join(
        f"{name} = CASE WHEN excluded.is_complete THEN NULL ELSE {_published(name)} END"
        for name in FIRST_READ
    )
    return (
        "INSERT INTO person_area ({names}, run_id, attempt_id) "
        "SELECT {names}, {run_id}, {attempt_id} FROM {input_rows} WHERE true "
        "ON CONFLICT (person_id, area) DO UPDATE SET "
        f"{published}, {figures}, {first}, is_complete = excluded.is_complete, "
        "run_id = excluded.run_id, attempt_id = excluded.attempt_id"
    )


def _published(name: str) -> str:
    """The published value: in ``prev_…`` if this run has already written the row, else in place."""
    return (
        "CASE WHEN person_area.run_id = excluded.run_id "
        f"THEN person_area.prev_{name} ELSE person_area.{name} END"
    )


WRITE_PROOFS: Final = _write_proofs()
"""Each also moves the published proof to the ``prev_`` columns, so nothing is read first."""
