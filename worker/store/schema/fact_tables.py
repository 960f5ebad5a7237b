"""Facts and the change feed. These tables have no foreign keys: their rows stay for ever."""

from collections.abc import Iterator
from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, String, Table

from worker.core.model import FailureKind
from worker.store.schema.base import Key, metadata
from worker.utc_time import UtcTime

DENOMINATORS: Final = (
    "roster",
    "confirmed",
    "stale",
    *(f"failed_{kind}" for kind in FailureKind),
)
"""Counts of persons of a publication. Readers take NULL for unknown."""
MOVEMENTS: Final = ("joined", "departed", "persons_in_effect")
"""Those that are never NULL."""


def _persons() -> Iterator[Column[int]]:
    yield from (Column(name, BigInteger) for name in DENOMINATORS)
    yield from (Column(name, BigInteger, nullable=False) for name in MOVEMENTS)


publication = Table(
    "publication",
    metadata,
    Column("publication_no", BigInteger, primary_key=True, autoincrement=False),
    Column("run_id", BigInteger, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("published_at", UtcTime, nullable=False),
    Column("day", String(10), nullable=False),
    *_persons(),
    Column("is_base", Boolean(create_constraint=False), nullable=False),
)
"""The facts of each publication, for ever. ``run_id`` is no foreign key: runs may go.

``is_base``: the numbers still are those of the rows, so that the next publication may count on from
them (``store.runs.facts``)."""

publication_code = Table(
    "publication_code",
    metadata,
    Column("publication_no", BigInteger, primary_key=True, autoincrement=False),
    Column("area", String(40), primary_key=True),
    Column("code", String(32), primary_key=True),
    Column("level", String(32), primary_key=True),
    Column("cause", String(32), primary_key=True),
    Column("cohort", String(200), primary_key=True),
    Column("restriction_group", String(16)),
    *(
        Column(name, BigInteger, nullable=False)
        for name in (
            "open",
            "in_effect",
            "added",
            "changed",
            "removed",
            "persons",
            "persons_in_effect",
        )
    ),
    sqlite_with_rowid=False,
)
"""The same by area, code, level, cause and cohort."""

publication_cohort = Table(
    "publication_cohort",
    metadata,
    Column("publication_no", BigInteger, primary_key=True, autoincrement=False),
    Column("cohort", String(200), primary_key=True),
    *_persons(),
    sqlite_with_rowid=False,
)
"""The persons of each publication by cohort; their sums are those of ``publication``."""

change_feed = Table(
    "change_feed",
    metadata,
    Column("seq", Key, primary_key=True, autoincrement=True),
    Column("publication_no", BigInteger, nullable=False),
    Column("happened_at", UtcTime, nullable=False),
    Column("op", String(16), nullable=False),
    Column("area", String(40)),
    Column("version_id", BigInteger),
    Column("person_id", BigInteger),
    sqlite_autoincrement=True,
)
"""What readers may have copied and must change, in order. It only grows, and names nobody itself:
``version_id`` and ``person_id`` are no foreign keys, and lead nowhere once their rows are gone."""
