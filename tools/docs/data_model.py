"""The page docs/data-model.md: the tables, how they refer to each other, and which views read them.

Everything but the sentences is made of the declarations in ``worker/store/schema``.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import Column, Table

from worker.areas.meanings import view_columns
from worker.store.dialects import POSTGRESQL
from worker.store.schema.tables import metadata
from worker.store.schema.views import view_definitions

TABLES: Final = {
    "store_identity": "How persons are keyed: one row.",
    "lease": "Who may write, with the fencing token.",
    "run": "One snapshot: its status, its totals and, once it is published, its number.",
    "run_attempt": "One process's work at a run.",
    "person": "A person by pseudonym, with the roster's reference and cohort.",
    "person_label": "The roster's reference and cohort of a person between two publications, until "
    "a later one changed them.",
    "person_area": "The proof of the last complete read of a person's area, and the published one "
    "before it (`prev_…`).",
    "drift": "Fields of records that the contract with PTS does not declare.",
    "failure": "A person's area that cannot be read at present.",
    "access_log": "Who looked at whom. It only grows.",
    "publication": "The facts of a publication by person. Never changed.",
    "publication_code": "The same by area, code, level, cause and cohort. Never changed.",
    "publication_cohort": "The persons of a publication by cohort. Never changed.",
    "change_feed": "What each publication changed, in order. It only grows.",
    "patient_safety_version": "The content of a patient safety restriction over an interval of "
    "runs.",
    "patient_privacy_version": "The same for patient privacy.",
}
"""What each table holds."""

NOT_ENFORCED: Final = {
    "access_log.person_id": "person",
    "change_feed.person_id": "person",
    "lease.run_id": "run",
    "person.not_sent_by": "run_attempt",
    "publication.run_id": "run",
    "publication_code.publication_no": "publication",
    "publication_cohort.publication_no": "publication",
}
"""Columns that name a row without a foreign key, since they outlive it."""

_HEAD: Final = """# Data model

For readers of the database and for a colleague who changes its schema. Readers use the [views](reference/views.md), never the tables: these may change with any version.

- A database serves one organisation; several are several configurations ([operations](operations.md#database)).
- A **version** row holds a restriction's content from the run that opened it (`opened_run`) until the run that closed it (`closed_run`). Its content is never changed.
- A run is visible once it has a `publication_no`. Current, published and as-of are conditions on run numbers ([ADR 0004](adr/0004-run-numbered-versions.md)).
- **Facts** (`publication`, `publication_cohort`, `publication_code`) and the **change feed** are written in the transaction of the publication, and stay ([ADR 0026](adr/0026-facts-and-feed-at-publication.md)).
- What is kept for how long: [privacy](privacy.md#what-is-stored-why-and-for-how-long).

"""  # noqa: E501


def data_model_page() -> str:
    """Diagram, tables, and the tables that each view reads."""
    tables = metadata.sorted_tables
    page = f"{_HEAD}## Diagram\n\nDotted lines are references without a foreign key.\n\n"
    page += "```mermaid\n" + "\n".join(["erDiagram", *_relations(tables)]) + "\n```\n\n## Tables\n"
    for table in tables:
        page += f"\n### {table.name}\n\n{TABLES.get(table.name, '')}\n\n"
        page += "| column | type | null? | key |\n|---|---|---|---|\n"
        page += "".join(f"{_row(column)}\n" for column in table.columns)
    page += "\n## Views and their tables\n\n| view | reads |\n|---|---|\n"
    return page + "".join(f"{row}\n" for row in _views())


def _relations(tables: list[Table]) -> Iterator[str]:
    for table in tables:
        for column in table.columns:
            for key in column.foreign_keys:
                one = "|o" if column.nullable else "||"
                yield f"    {key.column.table.name} {one}--o{{ {table.name} : {column.name}"
            if other := NOT_ENFORCED.get(f"{table.name}.{column.name}"):
                yield f"    {other} |o..o{{ {table.name} : {column.name}"


def _row(column: Column[Any]) -> str:
    keys = ["primary"] if column.primary_key else []
    keys += [f"[{key.column.table.name}](#{key.column.table.name})" for key in column.foreign_keys]
    if other := NOT_ENFORCED.get(f"{column.table.name}.{column.name}"):
        keys.append(f"{other}, not enforced")
    length = getattr(column.type, "length", None)
    shown = _NAMES[column.type.__visit_name__] + (f"({length})" if length else "")
    null = "yes" if column.nullable else ""
    return f"| `{column.name}` | {shown} | {null} | {', '.join(keys)} |"


_NAMES: Final = {
    "BIGINT": "integer",
    "big_integer": "integer",
    "boolean": "boolean",
    "integer": "integer",
    "large_binary": "bytes",
    "small_integer": "integer",
    "string": "text",
    "text": "text",
    "type_decorator": "time, UTC",
}


def _views() -> Iterator[str]:
    definitions = view_definitions(POSTGRESQL)
    for view in view_columns():
        read = dict.fromkeys(re.findall(r"(?:FROM|JOIN) (\w+)", definitions[view]))
        tables = ", ".join(f"`{name}`" for name in read if name in metadata.tables)
        yield f"| [`{view}`](reference/views.md#{view}) | {tables or 'nothing: constants'} |"
