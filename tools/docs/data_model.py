"""The page reference/data-model.md: the tables, their references, and which views read them.

Generated, except for the sentences, from the declarations in ``worker/store/schema`` and from a
database after all migrations.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import Column, MetaData, Table, create_engine
from sqlalchemy.dialects import postgresql

from worker.store.schema.tables import metadata
from worker.store.schema.upgrade import migrate
from worker.store.schema.views import view_definitions
from worker.views import UtcTime, view_columns

TABLES: Final = {
    "store_identity": "The identity scheme of persons, and the PTS of this database: one row.",
    "lease": "The process that may write, with the fencing token: one row.",
    "run": "One run: its status, and after publication its number, totals and facts.",
    "person": "A published person: the pseudonym, and the labels of the last roster.",
    "person_area": "An area of a published person: the last complete read with its proof, and the "
    "failure if it cannot be read. One row for each person and area.",
    "draft": "A person on the roster of an open run, not published.",
    "draft_area": "A read of an area in an open run, not published.",
    "draft_patient_safety": "The changes of an open run to patient safety restrictions.",
    "draft_patient_privacy": "The changes of an open run to patient privacy restrictions.",
    "drift": "Fields of records that the contract with PTS does not declare.",
    "access_log": "Each command that showed persons: account, time, purpose, person. Append-only.",
    "publication_code": "The facts of a publication by area, code, level, cause, group and cohort. "
    "Never changed.",
    "publication_cohort": "The persons of a publication by cohort. Never changed.",
    "publication_figure": "The figures of the report for a publication, by several dimensions. "
    "Never changed.",
    "change_feed": "The changes of each publication, in order. Append-only.",
    "patient_safety_version": "The content of a patient safety restriction over an interval of "
    "publications.",
    "patient_privacy_version": "The content of a patient privacy restriction over an interval of "
    "publications.",
}
"""The content of each table."""

NOT_ENFORCED: Final = {
    "change_feed.person_id": "person",
    "change_feed.publication_no": "run",
    "draft.person_id": "person",
    "draft_area.person_id": "person",
    "draft_area.run_id": "run",
    "draft_patient_safety.person_id": "person",
    "draft_patient_privacy.person_id": "person",
    "patient_safety_version.opened_no": "run",
    "patient_privacy_version.opened_no": "run",
    "person.first_no": "run",
    "publication_code.publication_no": "run",
    "publication_cohort.publication_no": "run",
    "publication_figure.publication_no": "run",
}
"""References without a foreign key, because the column outlives the row."""

_HEAD: Final = """# Data model

For readers of the database and for a colleague who changes its schema. Readers use the [views](views.md), never the tables: these may change with any version.

- A **version** row has a restriction's content from the publication that opened it (`opened_no`) until the publication that closed it (`closed_no`). Its content is never changed.
- A run writes **drafts**, which no view reads. Publication applies them ([reason](../decisions.md#drafts)).
- **Facts** (in `run`, `publication_cohort`, `publication_code`, `publication_figure`) and the **change feed** are written in the transaction of the publication, and stay ([reason](../decisions.md#facts-and-change-feed-are-written-at-publication)).
- Retention: see [data protection](../data-protection.md#stored-data-and-retention).

"""  # noqa: E501


def data_model_page() -> str:
    """Diagram, tables, and the tables that each view reads."""
    tables = _migrated_tables()
    page = f"{_HEAD}## Diagram\n\nDotted lines are references without a foreign key.\n\n"
    page += "```mermaid\n" + "\n".join(["erDiagram", *_relations(tables)]) + "\n```\n\n## Tables\n"
    for table in tables:
        page += f"\n### {table.name}\n\n{TABLES.get(table.name, '')}\n\n"
        page += "| column | type | null? | key |\n|---|---|---|---|\n"
        page += "".join(f"{_row(column)}\n" for column in table.columns)
    page += "\n## Views and their tables\n\n| view | reads |\n|---|---|\n"
    return page + "".join(f"{row}\n" for row in _views())


def _migrated_tables() -> list[Table]:
    """The tables after all migrations, each after the tables that it references."""
    # Reflected, not declared: the page shows the tables of a real database.
    reflected = MetaData()
    with create_engine("sqlite://").begin() as connection:
        migrate(connection)
        reflected.reflect(connection, only=list(metadata.tables))
    return reflected.sorted_tables


def _relations(tables: list[Table]) -> Iterator[str]:
    for table in tables:
        for column in table.columns:
            for key in column.foreign_keys:
                parent_end = "|o" if column.nullable else "||"
                yield f"    {key.column.table.name} {parent_end}--o{{ {table.name} : {column.name}"
            if target := NOT_ENFORCED.get(f"{table.name}.{column.name}"):
                yield f"    {target} |o..o{{ {table.name} : {column.name}"


def _row(column: Column[Any]) -> str:
    keys = ["primary"] if column.primary_key else []
    keys += [f"[{key.column.table.name}](#{key.column.table.name})" for key in column.foreign_keys]
    if target := NOT_ENFORCED.get(f"{column.table.name}.{column.name}"):
        keys.append(f"{target}, not enforced")
    # The declared type: SQLite reflects a time as text, with the length of its format.
    kind = metadata.tables[column.table.name].c[column.name].type
    length = None if isinstance(kind, UtcTime) else getattr(column.type, "length", None)
    type_name = _NAMES[kind.__visit_name__] + (f"({length})" if length else "")
    null = "yes" if column.nullable else ""
    return f"| `{column.name}` | {type_name} | {null} | {', '.join(keys)} |"


_NAMES: Final = {
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
    definitions = {
        name: str(query.compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]
        for name, query in view_definitions("postgresql").items()
    }
    for view in view_columns():
        read = dict.fromkeys(re.findall(r"(?:FROM|JOIN) (\w+)", definitions[view]))
        tables = ", ".join(f"`{name}`" for name in read if name in metadata.tables)
        yield f"| [`{view}`](views.md#{view}) | {tables or 'nothing: constants'} |"
