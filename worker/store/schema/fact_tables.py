"""Facts and the change feed. These tables have no foreign keys: their rows stay for ever."""

from collections.abc import Iterator
from typing import Final

from sqlalchemy import BigInteger, Column, String, Table

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
"""Persons who came and went, and those with a restriction in effect."""
PERSON_COUNTS: Final = (*DENOMINATORS, *MOVEMENTS)


def person_counts() -> Iterator[Column[int]]:
    """A column for each of ``PERSON_COUNTS``; NULL before the run is published."""
    yield from (Column(name, BigInteger) for name in PERSON_COUNTS)


publication_code = Table(
    "publication_code",
    metadata,
    Column("publication_no", BigInteger, primary_key=True, autoincrement=False),
    Column("area", String(40), primary_key=True),
    Column("code", String(32), primary_key=True),
    Column("level", String(32), primary_key=True),
    Column("cause", String(32), primary_key=True),
    Column("restriction_group", String(16), primary_key=True),
    Column("cohort", String(200), primary_key=True),
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
"""Restrictions of each publication by area, code, level, cause, group and cohort; what a row does
not have is empty, as is the group of a code that is not known."""

publication_cohort = Table(
    "publication_cohort",
    metadata,
    Column("publication_no", BigInteger, primary_key=True, autoincrement=False),
    Column("cohort", String(200), primary_key=True),
    *person_counts(),
    sqlite_with_rowid=False,
)
"""The persons of each publication by cohort; their sums are those of the run."""

change_feed = Table(
    "change_feed",
    metadata,
    Column("seq", Key, primary_key=True, autoincrement=True),
    Column("publication_no", BigInteger, nullable=False),
    Column("happened_at", UtcTime, nullable=False),
    Column("op", String(16), nullable=False),
    Column("area", String(40)),
    Column("version_id", BigInteger),
    Column("person_id", BigInteger, index=True),
    sqlite_autoincrement=True,
)
"""What readers may have copied and must change, in order. It only grows, and names nobody itself:
``version_id`` and ``person_id`` are no foreign keys, and lead nowhere once their rows are gone."""
