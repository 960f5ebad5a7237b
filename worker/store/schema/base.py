"""What all tables are declared with: names of constraints, and the type of keys."""

from typing import Final

from sqlalchemy import BigInteger, Integer, MetaData

NAMING: Final = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


metadata = MetaData(naming_convention=NAMING)

Key: Final = BigInteger().with_variant(Integer(), "sqlite")
"""64-bit keys; SQLite gives row ids to INTEGER PRIMARY KEY only."""
