"""Columns and options shared by several tables (``schema.tables``)."""

from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa

from worker.core.area import ColumnType, ResourceArea
from worker.errors import FailureKind
from worker.views import UtcTime

RowId = sa.BigInteger().with_variant(sa.Integer, "sqlite")
"""SQLite numbers the rows of a table only by a column that is declared as INTEGER."""


def partial(condition: sa.ColumnElement[bool]) -> dict[str, Any]:
    """The options of an index over the rows that meet a condition."""
    return {"sqlite_where": condition, "postgresql_where": condition}


PROOF: Final[Mapping[str, Any]] = {
    "pages": sa.Integer,
    "record_count": sa.Integer,
    "digest": sa.String(32),
    "first_read_at": UtcTime,
    "first_digest": sa.String(32),
}
"""The completeness proof of an area. The last two columns are the first of two reads that agree."""
FAILURE: Final[Mapping[str, Any]] = {
    "failure_kind": sa.String(16),
    "failure_status": sa.Integer,
    "failure_reason": sa.Text,
    "failure_attempts": sa.Integer,
}
"""The reason why an area could not be read."""
TOTALS: Final = (
    "persons_total",
    "persons_complete",
    "persons_stale",
    "persons_departed",
    "persons_missing",
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
    "missing",
    "persons_in_effect",
)
"""Counts of persons of a publication. NULL in a run that is not published.

``roster`` is ``confirmed`` plus ``stale``. ``missing`` persons are not on the last full roster, and
depart if they are not on the next one. ``persons_in_effect`` have an active restriction, missing
persons included."""


def proof_and_failure() -> list[sa.Column[Any]]:
    """The columns of a read: its proof and its failure."""
    return [sa.Column(name, type_) for name, type_ in {**PROOF, **FAILURE}.items()]


_TYPES: Final[Mapping[ColumnType, Any]] = {
    ColumnType.TEXT: sa.Text,
    ColumnType.INTEGER: sa.BigInteger,
    ColumnType.BOOLEAN: sa.Boolean,
    ColumnType.TIME: UtcTime,
    # As text, so that both databases return it byte for byte.
    ColumnType.JSON: sa.Text,
}


def fact_columns(area: ResourceArea) -> Mapping[str, str]:
    """The columns by which facts count a restriction, each with the typed column of its code."""
    rule = area.effect
    sources = {"fact_code": rule.code, "fact_level": rule.level, "fact_cause": rule.cause}
    return {name: source for name, source in sources.items() if source}


def content(area: ResourceArea, *, is_draft: bool) -> list[sa.Column[Any]]:
    """The columns of a restriction's content, and those derived from it."""
    return [
        # NULL only in the draft of a closing, which has no content.
        sa.Column("content_hash", sa.LargeBinary(16), nullable=is_draft),
        *(sa.Column(column.name, _TYPES[column.type]) for column in area.columns),
        sa.Column("extra", sa.Text),
        sa.Column("restriction_group", sa.String(16)),
        sa.Column("restricts", sa.Boolean, nullable=is_draft),
        sa.Column("effect_from", UtcTime),
        sa.Column("effect_until", UtcTime),
        *(sa.Column(name, sa.String(32), nullable=is_draft) for name in fact_columns(area)),
    ]
