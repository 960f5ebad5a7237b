"""What SQLite's planner is given about our tables: how few rows of each a person has.

SQLite takes a table that was never analysed for a million rows, and ten rows for each value of an
index. So it read a view from end to end where a short list of references was joined with it, and
looked each row up in the list. With these figures it begins with the list. They are not counted,
so that the plans of a database do not change with its contents; who runs ``ANALYZE`` replaces them.
"""

from collections.abc import Iterator
from typing import Final

from worker.store.catalogues import FORGET_STATISTICS, SET_STATISTICS
from worker.store.dialects import StoreDialect
from worker.store.schema.tables import VERSIONS

_ROWS: Final = 1_000_000
"""As SQLite supposes of a table that it knows nothing of."""
_OF_A_PERSON: Final = {
    ("person", "ix_person_prev_local_ref"): "1",
    ("person_label", "ix_person_label_local_ref"): "1",
    ("person_area", "person_area"): "2 1",
} | {
    (table.name, f"ix_{table.name}_person_id_restriction_id"): "2 1" for table in VERSIONS.values()
}
"""By table and index: rows for each value of its first column, of its first two, and so on."""


def statistics_statements(dialect: StoreDialect) -> Iterator[str]:
    """After a migration, which may have made a table anew and dropped its figures."""
    if dialect.name != "sqlite":
        return
    yield "ANALYZE sqlite_schema"  # makes the table of figures, and counts nothing
    for (table, index), rows in _OF_A_PERSON.items():
        yield FORGET_STATISTICS.format(index=index)
        yield SET_STATISTICS.format(table=table, index=index, rows=f"{_ROWS} {rows}")
